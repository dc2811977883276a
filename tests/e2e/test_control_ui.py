"""OpenClaw's Control UI, unmodified, in a browser, against this gateway."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from openclaw_product import Product
from processes import TOKEN, Running, until

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(200)]

CONFIG = {
    "basePath": "",
    "assistantName": "A",
    "assistantAvatar": "A",
    "assistantAgentId": "main",
    "serverVersion": "0",
}


class Pages(SimpleHTTPRequestHandler):
    """Any static server would do: the files, `index.html` for the pages, and the configuration of the UI."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/control-ui-config.json":
            body = json.dumps(CONFIG).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.path = self.served(path)
        super().do_GET()

    def served(self, path: str) -> str:
        """A file by its path, below a page too, for the links in `index.html` are relative; and a page for the rest."""
        parts = path.strip("/").split("/")
        below = ("/".join(parts[start:]) for start in range(len(parts)))
        return "/" + next((name for name in below if name and Path(self.directory, name).is_file()), "index.html")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@pytest.fixture
def pages(clients: Product) -> Iterator[str]:
    folder = clients.modules / "openclaw" / "dist" / "control-ui"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_conversation(clients: Product, opposite: Running, pages: str, tmp_path: Path) -> None:
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed; CHROMIUM can name another browser of its family")
    name = f"count-{uuid.uuid4().hex}"
    address = f"{pages}?gatewayUrl={quote(f'ws://127.0.0.1:{opposite.port}', safe='')}"
    begun = clients.run(
        opposite, "agent", "--session-id", "begun-elsewhere", "-m", "from the command line", how="config"
    )
    assert begun.returncode == 0, begun
    with clients.start("control_ui.mjs", address, TOKEN, name, str(tmp_path), browser) as process:
        try:
            out, errors = process.communicate()
        finally:
            process.kill()
    seen: dict[str, list[Any]] = {what: more for what, *more in map(json.loads, out.splitlines())}
    said = f"{errors}\nit saw {json.dumps(seen, indent=1)}\nand there are pictures in {tmp_path}"
    assert process.returncode == 0, said
    assert "failed" not in seen, said
    until("the agent was stopped", lambda: opposite.marked(name, "cancelled"))
    client, signed, scopes = seen["connected"]
    assert (client, signed) == ("openclaw-control-ui", True)
    assert "operator.admin" in scopes
    assert seen["replied"] == [1, 2], said  # the message, and within the reply
    assert len(seen["streamed"][0]) > 3, said  # the reply grew
    assert seen["abort"] == [1], said
    assert seen["aborted"] == [True, 1], said
    assert seen["reloaded"] == [1, 1], said
    assert seen["other"] == [1], said
    assert "agent:main:main" in seen["list"][0], said
    strange = [(method, message) for method, message in seen["refused"][0] if message != f"unknown method: {method}"]
    assert not strange, said
