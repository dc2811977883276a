"""gateway models: what providers say, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cli.console import FAILED, WRONG_CONFIG

OPENAI = {
    "object": "list",
    "data": [{"id": "gpt-4o"}, {"id": "models/gemini"}, {"id": "Ada"}, {"id": "a\nb"}, {"no": 1}, "x"],
}
FIRST = {"data": [{"type": "model", "id": "claude-opus-4-6"}], "has_more": True, "last_id": "claude-opus-4-6"}
SECOND = {"data": [{"type": "model", "id": "claude-haiku-4-5"}], "has_more": False, "last_id": "claude-haiku-4-5"}
TAGS = {"models": [{"name": "llama3.2:latest", "size": 1}, {"name": "qwen3:8b"}]}

ANSWERS: dict[str, tuple[int, Any]] = {
    "/v1/models": (200, OPENAI),
    "/claude/v1/models?limit=1000": (200, FIRST),
    "/claude/v1/models?limit=1000&after_id=claude-opus-4-6": (200, SECOND),
    "/tags/api/tags": (200, TAGS),
    "/old/v1/models": (200, {"data": [{"id": "from the compatible endpoint"}]}),
    "/page": (200, "<html>"),
    "/page/models": (200, "<html>"),
    "/other/models": (200, {"items": []}),
    "/refused/models": (401, {"error": {"message": "Incorrect API key provided: sk-secret-key"}}),
}


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        status, document = ANSWERS.get(self.path, (404, {"error": "no such page"}))
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    seen: list[tuple[str, dict[str, str]]] = []
    made = ThreadingHTTPServer(("127.0.0.1", 0), type("Recording", (Handler,), {"seen": seen}))
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", seen
    made.shutdown()
    thread.join()
    made.server_close()


def write(folder: Path, agents: dict[str, Any] | None = None, **providers: dict[str, Any]) -> list[str]:
    path = folder / "c.json5"
    path.write_text(json.dumps({"models": {"providers": providers}, "agents": agents or {}}), encoding="utf-8")
    return ["--config", str(path)]


def test_all_providers(server: tuple[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, seen = server
    config = write(
        tmp_path,
        mine={"baseUrl": f"{url}/v1", "apiKey": "sk-secret-key", "headers": {"User-Agent": "me"}},
        claude={"baseUrl": f"{url}/claude", "api": "anthropic-messages", "apiKey": "sk-ant"},
        ollama={"baseUrl": f"{url}/tags/v1"},
    )
    assert main(["models", *config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mine/Ada",
        "mine/gemini",
        "mine/gpt-4o",
        "claude/claude-haiku-4-5",
        "claude/claude-opus-4-6",
        "ollama/llama3.2:latest",
        "ollama/qwen3:8b",
    ]
    sent = dict(seen)
    assert sent["/v1/models"]["authorization"] == "Bearer sk-secret-key"
    assert sent["/v1/models"]["user-agent"] == "me"
    claude = sent["/claude/v1/models?limit=1000"]
    assert (claude["x-api-key"], claude["anthropic-version"]) == ("sk-ant", "2023-06-01")
    assert "authorization" not in claude


def test_one_provider_as_json(
    server: tuple[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path, mine={"baseUrl": f"{server[0]}/v1"}, other={"baseUrl": f"{server[0]}/other"})
    assert main(["models", "mine", "--json", *config]) == 0
    assert json.loads(capsys.readouterr().out) == {"mine": ["Ada", "gemini", "gpt-4o"]}


def test_an_ollama_without_its_own_list(
    server: tuple[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *write(tmp_path, ollama={"baseUrl": f"{server[0]}/old/v1"})]) == 0
    assert capsys.readouterr().out == "ollama/from the compatible endpoint\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("page", "broken answered with something that is no list; is"),
        ("other", "broken sent a list without `data`; is"),
        ("nothing", "broken has no model"),
        (
            "refused",
            "broken refused the gateway's credentials (401); check its API key (models.providers.broken.apiKey)",
        ),
    ],
)
def test_what_goes_wrong(
    server: tuple[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, words: str
) -> None:
    config = write(
        tmp_path,
        broken={"baseUrl": f"{server[0]}/{path}", "apiKey": "sk-secret-key"},
        mine={"baseUrl": f"{server[0]}/v1"},
    )
    assert main(["models", *config]) == FAILED
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["mine/Ada", "mine/gemini", "mine/gpt-4o"]  # the others are shown all the same
    assert f"gateway: {words}" in captured.err
    assert "sk-secret" not in captured.err


def test_no_provider(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *write(tmp_path)]) == WRONG_CONFIG
    assert "no provider is configured" in capsys.readouterr().err
    assert main(["models", "nobody", *write(tmp_path)]) == FAILED
    assert "there is no provider 'nobody'. Use one of: anthropic, deepseek" in capsys.readouterr().err


def test_the_providers_of_agents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    agents = {"defaults": {"model": {"primary": "openai/a", "fallbacks": ["anthropic/b"]}}}
    assert main(["models", *write(tmp_path, agents)]) == FAILED
    error = capsys.readouterr().err
    assert "openai needs a key; set it, or OPENAI_API_KEY" in error
    assert "anthropic needs a key; set it, or ANTHROPIC_API_KEY" in error
