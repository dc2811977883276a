"""Importing the package does nothing but define names, and loads no more than is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "gateway").rglob("*.py"))
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]

WATCH = """
import json, logging, os, signal, sys, threading

before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
seen = []
HARMLESS = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
EVENTS = (
    "socket.", "subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.mkdir", "os.putenv", "_thread."
)

def hook(event, args):
    if event == "open":
        if isinstance(args[0], str) and not args[0].endswith(HARMLESS) and not os.path.isdir(args[0]):
            seen.append(f"opens {args[0]}")
    elif event.startswith(EVENTS):
        seen.append(event)

class Environment(type(os.environ)):
    def __getitem__(self, key):
        caller = sys._getframe(1)
        while caller and caller.f_globals.get("__name__") in ("os", "collections.abc", "_collections_abc"):
            caller = caller.f_back
        if caller and caller.f_globals.get("__name__", "").split(".")[0] == "gateway":
            seen.append(f"reads the environment variable {key}")
        return super().__getitem__(key)

os.environ.__class__ = Environment
sys.addaudithook(hook)
threading.Thread.start = lambda thread: seen.append("starts a thread")
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
if any(logger.handlers for logger in [logging.root, *loggers]):
    seen.append("adds a log handler")
if any(logger.level for logger in loggers if logger.name.startswith("gateway")):
    seen.append("sets a log level")
if before != (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)):
    seen.append("changes a signal handler")
print(json.dumps(seen))
"""

LOADED = """
import json, sys
before = set(sys.modules)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def python(code: str, *arguments: str) -> Any:
    # -B: compiled files are written by Python, not by us.  -S: what site-packages start by themselves is not ours to answer for; their folder is then named by hand.
    path = [str(ROOT), *(entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages")))]
    start = f"import sys; sys.path[:0] = {path!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", start, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", MODULES)
def test_no_side_effect(module: str) -> None:
    seen = python(WATCH, module)
    assert not seen, f"importing {module} {', '.join(seen)}: do it when it is asked for, in a function"


WITHOUT_LOOP = [
    name
    for name in MODULES
    if name.startswith(("gateway.wire", "gateway.model", "gateway.api.parse"))
    or name in {"gateway", "gateway.errors", "gateway.ports", "gateway.deadlines"}
    or name in {"gateway.config.json5", "gateway.api.images", "gateway.api.json_body", "gateway.api.members"}
    or name in {"gateway.api.responses_parse", "gateway.api.responses_input", "gateway.api.embeddings_parse"}
    or (name.startswith("gateway.api.") and name.endswith("_bytes"))
]


def test_pure_modules_exist() -> None:
    promised = {"gateway.config.json5", "gateway.api.parse", "gateway.api.chat_bytes", "gateway.wire.heads"}
    missing = promised - set(WITHOUT_LOOP)
    assert not missing, f"{sorted(missing)} are promised to vendorers and fuzzers as modules without asyncio"


@pytest.mark.parametrize("module", WITHOUT_LOOP)
def test_pure_modules_need_no_event_loop(module: str) -> None:
    loaded = sorted(set(python(LOADED, module)) & {"asyncio", "socket", "ssl", "selectors", "subprocess"})
    assert not loaded, f"importing {module} loads {loaded}: this floor is plain functions of bytes, keep I/O above it"


def test_importing_the_package_is_almost_free() -> None:
    anyway = python(LOADED, "__future__", "typing", "importlib")  # what nearly every program has loaded
    loaded = sorted(set(python(LOADED, "gateway")) - set(anyway) - {"gateway"})
    assert not loaded, f"`import gateway` loads {loaded}: make the exports lazy"


SERVE = """
import json, sys
import asyncio
before = set(sys.modules)
import gateway
async def agent(run):
    yield "x"
async def main():
    async with gateway.Gateway(agents={"main": agent}, listen="127.0.0.1:0", token="t") as gw:
        assert gw.urls
asyncio.run(main())
print(json.dumps(sorted(set(sys.modules) - before)))
"""

RUN = """
import json, os, signal, sys
import asyncio, argparse, dataclasses, logging
before = set(sys.modules)
import gateway.cli
from gateway.cli import run
serve = run.serve

def serve_and_stop(gateway, announce, reread, worker):
    def stop(urls):
        announce(urls)
        os.kill(os.getpid(), signal.SIGTERM)
    return serve(gateway, stop, reread, worker)

run.serve = serve_and_stop
code = gateway.cli.main(["run", "--config", sys.argv[1], "--port", "0", "--token", "t"])
assert code == 0, code
print(json.dumps(sorted(set(sys.modules) - before)))
"""

CALL = """
import json, sys
import asyncio, argparse
before = set(sys.modules)
import gateway.cli
code = gateway.cli.main(["call", "health", "--url", "ws://127.0.0.1:1", "--token", "t"])
assert code == 69, code
print(json.dumps(sorted(set(sys.modules) - before)))
"""

NOT_FOR_CALLING = {
    "gateway.app": "the gateway is elsewhere",
    "gateway.agents": "the gateway is elsewhere",
    "gateway.api": "the gateway is elsewhere",
    "gateway.providers.upstream": "is a client for HTTP",
    "gateway.config.json5": "--url and --token leave nothing to read",
    "gateway.config.schema": "--url and --token leave nothing to read",
    "gateway.config.show": "nobody asked for the option table",
    "gateway.cli.chat": "belongs to another command",
    "gateway.cli.terminal": "belongs to other commands",
    "gateway.messages": "belongs to other commands",
    "uuid": "ids come from the system",
    "random": "ids come from the system",
    "urllib.request": "the client is ours",
    "http.client": "the client is ours",
    "sqlite3": "belongs to the gateway",
    "pathlib": "three functions of os do, in a tenth of the time",
}
"""Modules that a command which asks a gateway does not load, and why."""

NOT_FOR_SERVING = {
    "sqlite3": "belongs to the SQLite store, which loads on demand",
    "unittest": "belongs to tests",
    "ipaddress": "a forwarded address, or a network, is read where proxies are configured",
    "gateway.server.proxies": "loads where proxies are configured",
    "gateway.api.cors": "loads where origins are configured",
    "gateway.tools": "loads where tools are configured",
    "gateway.agents.loop": "loads where tools are configured",
    "gateway.api.invoke": "loads where tools are configured",
    "gateway.processes": "loads with the first program to start",
    "gateway.workers": "belongs to --workers",
    "gateway.cli.supervise": "belongs to --workers",
    "pickle": "belongs to --workers",
    "subprocess": "belongs to --workers, and to programs",
    "gateway.metering": "loads where metrics are on",
    "gateway.tallies": "loads where metrics are on",
    "gateway.agents.counted": "loads where metrics are on",
    "gateway.server.accesslog": "loads where the access log is on",
    "gateway.api.responses": "loads where its endpoint is on",
    "gateway.api.root": "loads when somebody looks what this is",
    "gateway.api.keys": "loads where keys are configured",
    "email": "a date and a header are two lines of our own",
    "difflib": "loads with the first mistake",
    "random": "ids come from the system",
    "hashlib": "OpenSSL's digests take 2 ms: they load with the first key, long name or WebSocket",
    "hmac": "secrets are compared without it",
    "bisect": "eight lines of our own",
    "http": "the table of statuses is ours, in a tenth of the time",
    "pathlib": "three functions of os do, in a tenth of the time",
    "urllib": "the URL of a provider is one expression",
    "unicodedata": "loads with the first key in another script",
    "gateway.providers.catalog": "who asks models loads with the first run of one",
    "gateway.providers.upstream": "who asks models loads with the first run of one",
    "wsproto": "loads with the first WebSocket",
    "multiprocessing": "one process is the design",
    "importlib.metadata": "a vendored copy has no metadata",
    "gateway.testing": "holds doubles for tests",
    "pydoc": "belongs to help texts",
}
"""Modules that a listening gateway with an agent in Python does not load, and why."""

NOT_FOR_EMBEDDING = {
    "argparse": "belongs to the command line",
    "gateway.cli": "belongs to the command line",
    "gateway.config.json5": "there is no file to read",
    "gateway.config.show": "nobody asked for the option table",
    "uvloop": "is the embedder's choice",
}

NOT_FOR_SUPERVISING = {
    "gateway.app": "belongs to the workers",
    "gateway.agents": "belongs to the workers",
    "gateway.api": "belongs to the workers",
    "gateway.server.connection": "belongs to the workers",
    "h11": "belongs to the workers",
    "wsproto": "belongs to the workers",
    "sqlite3": "belongs to the workers",
    "multiprocessing": "workers are started by exec",
}
"""Modules that the process above the workers does not load, and why."""

SERVING_MODULES = 106
"""Loaded until an embedded gateway listens, beyond asyncio.  Each costs start-up and memory."""

RUN_MODULES = 126
"""Loaded until `gateway run` listens, beyond asyncio, argparse, dataclasses, logging and pathlib."""

SUPERVISOR_MODULES = 58
"""Loaded by the process above the workers, beyond asyncio, argparse, logging, pathlib, subprocess and pickle."""

CALL_MODULES = 58
"""Loaded until `gateway call` has asked, beyond asyncio and argparse.  Each is time that somebody waits."""


def judge(what: str, loaded: list[str], forbidden: dict[str, str], limit: int) -> None:
    wrong = [f"{name}: {why}" for name, why in forbidden.items() if name in loaded]
    assert not wrong, "\n".join([f"{what} loads", *wrong])
    assert len(loaded) <= limit, f"{what} loads {len(loaded)} modules (limit {limit}): {loaded}"


def test_an_embedded_gateway_loads_what_it_needs() -> None:
    judge("an embedded gateway", python(SERVE), NOT_FOR_SERVING | NOT_FOR_EMBEDDING, SERVING_MODULES)


def test_the_command_loads_what_it_needs(tmp_path: Path) -> None:
    config = tmp_path / "gateway.json5"
    config.write_text(
        """{agents: {list: [{id: "main", runtime: {type: "echo"}}, {id: "model", model: "mine/x"}]},
        models: {providers: {mine: {api: "openai-completions", baseUrl: "http://127.0.0.1:1/v1"}}}}""",
        encoding="utf-8",
    )
    judge("`gateway run`", python(RUN, str(config)), NOT_FOR_SERVING, RUN_MODULES)


def test_a_supervisor_loads_nothing_of_what_serves() -> None:
    anyway = python(LOADED, "asyncio", "argparse", "logging", "pathlib", "subprocess", "pickle")
    loaded = [name for name in python(LOADED, "gateway.cli.run", "gateway.cli.supervise") if name not in anyway]
    judge("a supervisor", loaded, NOT_FOR_SUPERVISING, SUPERVISOR_MODULES)


def test_a_command_that_asks_loads_what_it_needs() -> None:
    judge("`gateway call`", python(CALL), NOT_FOR_CALLING, CALL_MODULES)
