"""The fuzz targets: every input of the corpus, random ones with a fixed seed, and that faults are found."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz import FOLDER, names
from fuzz.mutate import read_dictionary
from fuzz.run import MAX_INPUT, load, main, mutator_of, run_at_random

CORPUS = [path for name in names() for path in sorted((FOLDER / "corpus" / name).iterdir())]
RUNS = {"api": 50, "connection": 60, "deflate": 80, "http1": 250, "http1_client": 120, "websocket": 120}
"""How many random inputs; the others are quicker and get 600."""
FILES = 64
BYTES = 100_000


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_corpus(path: Path) -> None:
    load(path.parent.name)(path.read_bytes())


@pytest.mark.parametrize("target", names())
def test_random_inputs(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what fails is written there
    runs = RUNS.get(target, 600)
    assert run_at_random(target, load(target), seed=1, runs=runs, seconds=None) == runs


@pytest.mark.parametrize("target", names())
def test_what_belongs_to_a_target(target: str) -> None:
    files = [path for path in CORPUS if path.parent.name == target]
    assert 0 < len(files) <= FILES
    assert sum(path.stat().st_size for path in files) <= BYTES, "minimise the corpus: every test run replays it"
    assert all(path.stat().st_size <= MAX_INPUT for path in files)
    assert read_dictionary(FOLDER / "dict" / f"{target}.dict")


def test_no_corpus_without_a_target() -> None:
    assert {path.name for path in (FOLDER / "corpus").iterdir()} == set(names())
    assert {path.stem for path in (FOLDER / "dict").iterdir()} == set(names())


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = ([mutator_of("http1").fresh(Random(5), MAX_INPUT) for _ in range(3)] for _ in range(2))
    assert first == second
    random = Random(5)
    inputs = {mutator_of("http1").fresh(random, 50) for _ in range(100)}
    assert len(inputs) > 70
    assert max(map(len, inputs)) <= 50


def test_a_bad_line_of_a_dictionary_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.dict"
    path.write_text('# words\n\nname="a\\x00\\"\\\\"\n"b"\n')
    assert read_dictionary(path) == [b'a\0"\\', b"b"]
    path.write_text('"a"\nb\n')
    with pytest.raises(ValueError, match=r"x\.dict, line 2"):
        read_dictionary(path)


# -- the command


def test_files_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sniff", *map(str, sorted((FOLDER / "corpus" / "sniff").iterdir()))]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_a_finding_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def one_input(data: bytes) -> None:
        assert b"GET" not in data

    with pytest.raises(AssertionError):
        run_at_random("http1", one_input, seed=0, runs=1000, seconds=None)
    (crash,) = tmp_path.glob("crash-*")
    assert b"GET" in crash.read_bytes()
    assert crash.name in capsys.readouterr().err


@pytest.mark.parametrize("target", names())
def test_standard_input(target: str) -> None:
    path = next(path for path in CORPUS if path.parent.name == target)
    command = [sys.executable, "-m", "fuzz.run", target, "-"]
    done = subprocess.run(command, input=path.read_bytes(), cwd=FOLDER.parent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_afl_is_told_of_a_fault_by_a_signal() -> None:
    fault = "from fuzz import run\nrun.load = lambda _: lambda data: 1 / 0\nraise SystemExit(run.main(['sniff', '-']))"
    done = subprocess.run(
        [sys.executable, "-c", fault], input=b"x", cwd=FOLDER.parent, capture_output=True, check=False
    )
    assert done.returncode < 0
    assert b"ZeroDivisionError" in done.stderr


STUB = """
from contextlib import contextmanager

@contextmanager
def instrument_imports(include):
    assert "gateway" in include
    yield

def Setup(arguments, one_input):
    global run
    run = lambda: one_input(open(arguments[1], "rb").read())

def Fuzz():
    run()
    print("ran")
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="the build script is one of bash")
def test_the_build_script(tmp_path: Path) -> None:
    """With stand-ins for what only the image of OSS-Fuzz has: its packager, and atheris."""
    for folder in ("bin", "out", "src"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src" / "atheris.py").write_text(STUB)
    for name, text in {
        "pip3": "",
        "compile_python_fuzzer": 'cp "$1" "$OUT"',
        "python3": f'{sys.executable} "$@"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "OUT": str(tmp_path / "out"),
        "SRC": str(tmp_path / "src"),
        "PYTHONPATH": f"{tmp_path / 'src'}:{FOLDER.parent}",
    }
    subprocess.run(["bash", FOLDER / "build.sh"], cwd=FOLDER.parent, env=environment, check=True)
    for target in names():
        assert zipfile.is_zipfile(tmp_path / "out" / f"fuzz_{target}_seed_corpus.zip")
        assert read_dictionary(tmp_path / "out" / f"fuzz_{target}.dict")
        path = next(path for path in CORPUS if path.parent.name == target)
        program = [sys.executable, str(tmp_path / "out" / f"fuzz_{target}.py"), str(path)]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "ran\n"


# -- faults, planted one at a time: what finds nothing in them would find nothing at all

PLANTED: list[tuple[str, str, str, str]] = [
    # target, file, what stands there, what it becomes
    ("api", "api/guard.py", "compare_digest(given, self._secret)", "compare_digest(given[:6], self._secret)"),
    ("api", "api/chat.py", "body.write(DONE)\n", "body.write(DONE + DONE)\n"),
    ("sniff", "wire/sniff.py", "[: METHOD_BYTES + 1]", "[: METHOD_BYTES + 2]"),
    ("http1", "wire/http1.py", "if length and length == len(rest)", "if length and length <= len(rest)"),
    ("http1", "wire/http1.py", "self._scanner = None\n        self._skipped = 0\n", "self._scanner = None\n"),
    ("http1", "wire/http1.py", "if head.chunked or (head.content_length or 0) != len(body):", "if not body:"),
    ("http1", "wire/repeats.py", "if lines != own:", "if lines[:2] != own[:2]:"),
    ("http1", "wire/repeats.py", "or not _PLAIN(value)", ""),
    ("http1", "wire/repeats.py", "or name in _FRAMING", ""),
    ("http1", "wire/repeats.py", "or not single", ""),
    ("http1", "wire/heads.py", "if coding is not None:  # RFC 9112, 6.3, item 3", "if False:  # RFC 9112, 6.3, item 3"),
    ("http1", "wire/heads.py", "elif end > head_bytes:", "elif end > head_bytes + 1:"),
    ("chunked", "wire/chunked.py", 'end in {b"", b"\\r"}', 'end in {b""}'),
    ("chunked", "wire/chunked.py", "pieces = pieces[:good]", "pieces = pieces[: good + 1]"),
    ("http1_client", "wire/http1_client.py", "self._scanned - 3", "self._scanned"),
    ("http1_client", "wire/grammar.py", r'FIELD_VALUE = pattern(rb"[\t', r'FIELD_VALUE = pattern(rb"[\n\t'),
    ("upgrade", "wire/upgrade.py", "{22}==", "{21,22}==?"),
    ("websocket", "wire/websocket.py", "if size - start > self._max_message:", "if size - 8 > self._max_message:"),
    ("websocket", "wire/message.py", 'pending[:1] == b"\\xed"', 'pending[:1] == b"\\xee"'),
    ("websocket", "wire/websocket.py", "1007 <= code <= 1014", "1007 <= code <= 1015"),
    (
        "deflate",
        "wire/deflate.py",
        "if not self._takeover:\n            self._stream",
        "if False:\n            self._stream",
    ),
    ("deflate", "wire/deflate.py", "(stream.compress(data) + ", "(stream.compress(data[:7]) + "),
    ("upgrade", "wire/extensions.py", "min(server_bits, _BITS[given[_SERVER_BITS]])", "server_bits"),
    ("openai_stream", "providers/openai_stream.py", "{template.head}{text}", "{self._template.head}{text}"),
    ("openai_stream", "providers/openai_stream.py", 'if _PLAIN.fullmatch("".join(texts)):', "if True:"),
    ("openai_stream", "providers/calls.py", "if not call_id or call_id in self._taken:", "if not call_id:"),
    (
        "openai_stream",
        "providers/calls.py",
        "        call.number = self._named\n",
        "        call.number = len(self._all) - 1\n",
    ),
    ("anthropic_stream", "providers/anthropic_stream.py", "block.number is None or block.told", "block.told"),
    ("anthropic_stream", "providers/events.py", "return well_formed(found) if", "return found if"),
    (
        "anthropic_stream",
        "providers/anthropic_stream.py",
        "and self._thought <= THINKING_CHARACTERS:\n            self._keep",
        "and True:\n            self._keep",
    ),
    (
        "responses_stream",
        "providers/responses_stream.py",
        'if not item.kept and text_of(content, "encrypted_content"):',
        "if True:",
    ),
    (
        "responses_stream",
        "providers/responses_stream.py",
        'status = text_of(document, "status")',
        'status = document.get("status", "")',
    ),
    ("websocket", "wire/websocket.py", "if second != size + (0x80 - 6):", "if second != 0x80 | size - 6:"),
    ("websocket", "wire/websocket.py", "second == 0xFE and size >= 134:", "second == 0xFE and size >= 8:"),
    ("websocket", "wire/websocket.py", "self._decoder is not None or self.state", "self.state"),
    ("websocket", "wire/masking.py", ">> (blocks << 8) - (length << 3)", ">> 0"),
    ("websocket", "wire/masking.py", "tables[key >> 16 & 0xFF]", "tables[key >> 8 & 0xFF]"),
    ("sse", "wire/sse.py", "if self._skip_lf and data[0] == 0x0A:", "if data[0] == 0x0A:"),
    (
        "json5",
        "config/json5.py",
        '_string(src, pos)\n    if char and char in "+-.',
        '_string(src, pos)\n    if char and char in "+-',
    ),
    ("json5", "config/json5.py", "low = src[pos + 6 : pos + 12]", "low = src[pos + 5 : pos + 12]"),
    ("chat", "api/parse_messages.py", '"\\n".join(texts)', '"".join(texts)'),
    ("chat", "api/json_body.py", "except RecursionError:", "except MemoryError:"),
    ("responses", "api/responses_bytes.py", "self._number = first + len(texts)", "self._number = first + 1"),
    ("responses", "api/responses_input.py", "one and other else one or other", "False else one or other"),
    ("connection", "server/connection.py", "elif not exchange.writer.keep_alive or self._reader.over:", "elif False:"),
    ("connection", "wire/response.py", 'b"%x\\r\\n%b\\r\\n"', 'b"%x\\r\\n%b\\n"'),
]

PLANT = """
import importlib.abc, importlib.util, sys
from pathlib import Path
import gateway
from fuzz.run import main
target, file, before, after, runs = sys.argv[1:]
path = Path(gateway.__file__).parent / file
source = path.read_text(encoding="utf-8")
assert source.count(before) == 1, (file, before, source.count(before))
name = "gateway." + file.removesuffix(".py").replace("/", ".")

class Planter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(self, fullname, path, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname == name else None
    def get_source(self, fullname):
        return source.replace(before, after)

sys.meta_path.insert(0, Planter())
raise SystemExit(main([target, "--random", "--runs", runs]))
"""


@pytest.mark.parametrize(("target", "file", "before", "after"), PLANTED)
def test_a_planted_fault_is_found(target: str, file: str, before: str, after: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLANT, target, file, before, after, "400"]
    environment: dict[str, Any] = {"PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True, env=environment)
    assert done.returncode == 1, f"not found: {done.stdout}{done.stderr}"
    assert list(tmp_path.glob("crash-*")), done.stderr
