"""The folder works under another name, with its dependencies where they are or relocated as README.md says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(sysconfig.get_paths()["purelib"])

SERVE = """
import asyncio, http.client, importlib, json, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is imported by its own name")

sys.meta_path.insert(0, Refuse())
import acme._vendor.gw as gw

for module in pkgutil.walk_packages(gw.__path__, gw.__name__ + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)

async def shout(run):
    for word in run.request.messages[-1].text.split():
        yield word.upper() + " "

def ask(address):
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    client = http.client.HTTPConnection(host, int(port), timeout=10)
    body = json.dumps({"model": "agent:shout", "messages": [{"role": "user", "content": "hello there"}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer s3cret"})
    answer = client.getresponse()
    status, text = answer.status, answer.read()
    client.close()
    assert status == 200, text
    return json.loads(text)["choices"][0]["message"]["content"]

async def main():
    async with gw.Gateway(agents={"shout": shout}, listen="127.0.0.1:0", token="s3cret") as running:
        print(await asyncio.to_thread(ask, running.urls[0]))

asyncio.run(main())
left = [name for name in sys.modules if name.split(".")[0] in sys.argv[1].split(",")]
assert not left, left
"""


def serve(folder: Path, refused: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, refused],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"the copy does not work under another name:\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def vendored(tmp_path: Path) -> Path:
    folder = tmp_path / "acme" / "_vendor"
    shutil.copytree(ROOT / "gateway", folder / "gw", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "acme" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    return folder


def test_a_copy_serves(vendored: Path) -> None:
    assert serve(vendored.parents[1], "gateway") == "HELLO THERE"


def test_the_recipe_relocates_the_dependencies(vendored: Path) -> None:
    if shutil.which("sed") is None:
        pytest.skip("the recipe is written with sed, which this machine does not have")
    for name in ("h11", "wsproto"):
        shutil.copytree(SITE / name, vendored / name, ignore=shutil.ignore_patterns("__pycache__"))
    recipe = re.search(r"```sh\n(cd acme/_vendor\n.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert recipe, "README.md has lost the vendoring recipe, a ```sh block that begins with `cd acme/_vendor`"
    subprocess.run(["/bin/sh", "-eu", "-c", recipe[1]], cwd=vendored.parents[1], check=True)
    edited = [path.with_suffix("").name for path in (vendored / "gw").rglob("*.bak")]
    assert sorted(edited) == ["heads.py", "websocket.py"], "the recipe is to edit one file for each dependency"
    assert serve(vendored.parents[1], "gateway,h11,wsproto") == "HELLO THERE"
