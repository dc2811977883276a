"""README.md cannot lie: what it shows is run, what it lists is read from the code."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN
from dialogue import talk
from processes import Launch, Running, environment
from prometheus_client.parser import text_string_to_metric_families
from readme_tables import between, tables

import gateway
from gateway.agents.function import echo
from gateway.config import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block(language: str, containing: str) -> str:
    found = [text for name, text in BLOCKS if name == language and containing in text]
    assert len(found) == 1, f"README.md should have one {language} block with {containing!r}, and has {len(found)}"
    return found[0]


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title}"
    return found[1]


def test_two_commands_open_it() -> None:
    first, second = (text for name, text in BLOCKS[:2] if name == "bash")
    assert re.fullmatch(r"python3 -m venv .*\.venv/bin/gateway demo\n", first), (
        "the first block of README.md is the one command that installs and runs the main job"
    )
    assert re.fullmatch(r"python3 -m venv .*\.venv/bin/pytest -q -n 4\n", second), (
        "the second block of README.md is the one command that installs and runs the tests; .ci/run takes it from here"
    )
    assert len(re.findall(r"^python3 -m venv .*pytest.*$", README, re.MULTILINE)) == 1, "one test command only"


def test_links_lead_somewhere() -> None:
    titles = {re.sub(r"\W+", "-", title.strip().lower()) for title in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", README))
    assert links <= titles, f"README.md links to {sorted(links - titles)}, which are not there"
    files = {link for link in re.findall(r"\]\((?!https?://|#)([^)]*)\)", README) if not (ROOT / link).exists()}
    assert not files, f"README.md links to {sorted(files)}, which are not there"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launch, Running, Path]]:
    """A gateway that runs on the configuration that README.md shows."""
    launcher = Launch(tmp_path_factory.mktemp("readme"))
    path = launcher.file(block("json5", "local: {"))
    try:
        yield launcher, launcher(path, "--port", "0", "--token", "s3cret"), path
    finally:
        launcher.close()


def test_the_configuration_is_a_good_one(example: tuple[Launch, Running, Path]) -> None:
    launcher, _, path = example
    checked = launcher.command("check", "--config", str(path))
    assert checked.returncode == 0, checked.stderr
    assert "change-me" not in checked.stdout + checked.stderr, "gateway check shows a secret"


CONFIGURATIONS = [text for name, text in BLOCKS if name == "json5"]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_each_configuration_is_a_good_one(launch: Launch, text: str, tmp_path: Path) -> None:
    if "mcp:" in text and find_spec("mcp") is None:
        pytest.skip("the extra mcp is not installed")
    (tmp_path / "my_tools.py").write_text(block("python", "def weather("), encoding="utf-8")
    path = launch.file(text)
    if "agents:" not in text:  # only what its section is about
        agents = '{ list: [{ id: "main", runtime: { type: "echo" } }] }'
        path = launch.file(f'{{ $include: "{path.name}", agents: {agents} }}')
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text) + re.findall(r'env: "(\w+)"', text), "of-the-reader")
    given = {name: f"{value}-{number}" for number, (name, value) in enumerate(variables.items())}
    checked = launch.command(
        "check", "--config", str(path), env={"GATEWAY_TOKEN": "t", "PYTHONPATH": str(tmp_path), **given}
    )
    assert checked.returncode == 0, checked.stderr


def test_the_command_agents(launch: Launch) -> None:
    path = launch.file(block("json5", 'type: "command"'))
    for agent, answer in (("count", "2"), ("repeat", "You said: two words")):
        asked = launch.command("agent", "--local", "--config", str(path), "--agent", agent, "--message", "two words")
        assert (asked.returncode, asked.stdout.strip()) == (0, answer), asked.stderr


@pytest.mark.parametrize("family", ["openclaw", "clawdbot", "moltbot", "gateway"])
@pytest.mark.parametrize("flag", ["-sS", "-N"])
def test_the_curl_examples(example: tuple[Launch, Running, Path], flag: str, family: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = block("bash", f"curl {flag}").replace("http://127.0.0.1:18789", example[1].origin)
    command = command.replace("YOUR_TOKEN", "s3cret").replace("openclaw", family)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    if flag == "-N":
        events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line]
        assert events[-1] == "[DONE]"
        assert "".join(json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1]) == "Echo: hi"
    else:
        answer = json.loads(done.stdout)
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Echo: hi"} | {
            key: value for key, value in answer["choices"][0]["message"].items() if value is None
        }
        assert answer["model"] == family


def test_the_sdk_example(example: tuple[Launch, Running, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for mark in ("stream=True", "Idempotency-Key"):
        code = block("python", mark).replace("http://127.0.0.1:18789", example[1].origin)
        scope: dict[str, object] = {}
        exec(code.replace("YOUR_TOKEN", "s3cret"), scope)
        scope["client"].close()  # type: ignore[attr-defined]  # an OpenAI client, but exec does not tell mypy
        assert capsys.readouterr().out.strip() == "Echo: hi"


def test_the_example_of_responses(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = launch(launch.file(block("json5", "responses: {")), "--port", "0", "--token", "s3cret")
    code = block("python", "client.responses").replace("http://127.0.0.1:18789", gateway.origin)
    scope: dict[str, object] = {}
    exec(code.replace("YOUR_TOKEN", "s3cret"), scope)
    scope["client"].close()  # type: ignore[attr-defined]  # as above
    assert capsys.readouterr().out.strip() == "Echo: hi | Echo: and you?"


def test_the_keys(launch: Launch) -> None:
    text = block("json5", 'id: "web-app"')
    made = launch.command("keys", "new", "--id", "web-app").stdout.split()
    placeholder = re.search("sha256:1+", text)
    assert placeholder, "the example has a hash to be replaced"
    hashed = re.search("sha256:[0-9a-f]+", " ".join(made))
    assert hashed
    path = launch.file(text.replace(placeholder[0], hashed[0]))
    gateway = launch(path, "--port", "0", env={"REPORTS_KEY": "from-env", "PHONE_KEY": "from-dollar"})
    for secret in (made[0], "from-env", "from-dollar"):
        assert ask(gateway.origin, secret, "openclaw", "hi") == (200, "Echo: hi")
    assert ask(gateway.origin, "another", "openclaw", "hi") == (401, "invalid_api_key")


def test_the_metrics(launch: Launch) -> None:
    gateway = launch(launch.file(block("json5", "metrics: {")), "--port", "0", env={"METRICS_KEY": "YOUR_METRICS_KEY"})
    scraper = block("yaml", "scrape_configs:")
    assert '"127.0.0.1:18789"' in scraper
    found = re.search(r"credentials: (\S+)", scraper)
    assert found
    request = urllib.request.Request(f"{gateway.origin}/metrics", headers={"Authorization": f"Bearer {found[1]}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = {family.name for family in text_string_to_metric_families(answer.read().decode())}
    asked = set(re.findall(r"(gateway_\w+?)(?:_bucket|_total)?\{?[\[{]", block("promql", "histogram_quantile")))
    assert len(asked) == 2
    assert asked <= told, "the queries are about what there is"
    assert ask(gateway.origin, "YOUR_METRICS_KEY", "openclaw", "hi") == (403, "insufficient_scope")


def ask(origin: str, token: str, model: str, text: str) -> tuple[int, str]:
    """(status, content or the whole error) of one completion."""
    client = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=10)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {token}"})
    answer = client.getresponse()
    parsed = json.loads(answer.read())
    client.close()
    return answer.status, parsed["choices"][0]["message"]["content"] if answer.status == 200 else parsed["error"][
        "code"
    ]


def test_the_embedding_example(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", block("python", "gateway.Gateway(")],
        stdout=subprocess.PIPE,
        env=environment(tmp_path, {}),
        text=True,
    )
    timer = threading.Timer(20, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        printed = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found, f"the example prints {printed!r}, not where it listens"
        assert ask(found[0], "s3cret", "agent:shout", "hello there") == (200, "HELLO THERE ")
    finally:
        timer.cancel()
        process.terminate()
        process.communicate()


def test_the_example_of_own_methods() -> None:
    scope: dict[str, Any] = {}
    exec(block("python", "@gw.rpc("), scope)

    async def main() -> None:
        gw = gateway.Gateway(agents={"main": echo}, listen="127.0.0.1:0", token=TOKEN)
        scope["add_weather"](gw)
        async with gw, talk(gw) as client:
            assert await client.request("weather.set", city="Rome", degrees=21.5) == {"Rome": 21.5}
            assert await client.event("weather.changed") == {"city": "Rome", "degrees": 21.5}

    asyncio.run(main())


def test_the_agent_example() -> None:
    scope: dict[str, object] = {}
    exec(block("python", "async def agent(run)"), scope)

    async def main() -> None:
        async with gateway.Gateway(
            agents={"main": scope["agent"]},  # type: ignore[dict-item]  # an agent, but exec does not tell mypy
            listen="127.0.0.1:0",
            token="t",
        ) as gw:
            assert await asyncio.to_thread(ask, gw.urls[0], "t", "openclaw", "two words") == (200, "two words ")
            assert await asyncio.to_thread(ask, gw.urls[0], "t", "openclaw", " ") == (400, "empty")

    asyncio.run(main())


def test_the_tools(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text(block("python", "def weather("), encoding="utf-8")
    running = launch(launch.file(block("json5", "my_tools:weather")), "--port", "0", env={"PYTHONPATH": str(tmp_path)})
    command = block("bash", "/tools/invoke").replace("http://127.0.0.1:18789", running.origin)
    command = command.replace("YOUR_TOKEN", "change-me").replace("curl ", "curl -sS ")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    result = {"city": "Rome", "forecast": ["sunny", "sunny"]}
    assert json.loads(done.stdout) == {
        "ok": True,
        "result": {"content": [{"type": "text", "text": json.dumps(result)}], "details": result},
    }
    other = command.replace('"weather"', '"count_lines"').replace('"city": "Rome", "days": 2', f'"path": "{__file__}"')
    done = subprocess.run(["/bin/sh", "-c", other], capture_output=True, text=True, timeout=20, check=True)
    assert __file__ in json.loads(done.stdout)["result"]["content"][0]["text"]


def test_the_mcp_servers(launch: Launch) -> None:
    config = load(str(launch.file(block("json5", "mcp: {"))), environ={"SEARCH_KEY": "k"}).config
    assert list(config.mcp.servers) == ["files", "search"]


def test_the_agent_that_calls_tools() -> None:
    scope: dict[str, Any] = {}
    exec(block("python", "async def forecaster(run)"), scope)
    tools = [{"type": "function", "function": {"name": "get_weather"}}]

    def choice(origin: str, messages: list[dict[str, Any]]) -> Any:
        body = json.dumps({"messages": messages, "tools": tools, "user": "ann"}).encode()
        headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{origin}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["choices"][0]

    async def main() -> None:
        async with gateway.Gateway(agents={"main": scope["forecaster"]}, listen="127.0.0.1:0", token="t") as gw:
            first = await asyncio.to_thread(choice, gw.urls[0], [{"role": "user", "content": "weather?"}])
            (call,) = first["message"]["tool_calls"]
            assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
            result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
            second = await asyncio.to_thread(choice, gw.urls[0], [result])
            assert second["message"]["content"] == "It is sunny."

    asyncio.run(main())


def test_the_example_of_images(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json5"
    path.write_text(block("json5", "allowUrl"), encoding="utf-8")
    images = load(str(path), environ={}).config.gateway.http.endpoints.chat_completions.images
    assert images.url_allowlist == ("images.example.com", ".cdn.example.com")


def test_the_sessions_example(example: tuple[Launch, Running, Path], tmp_path: Path) -> None:
    program = f"{sys.executable} -m gateway"
    lines = block("bash", "gateway sessions list").replace("gateway ", f"{program} ")
    env = environment(tmp_path, {"GATEWAY_CONFIG_PATH": str(example[2])})
    shell = ["/bin/sh", "-e", "-c", lines]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path, env=env)
    assert done.stdout.startswith("Echo: Where were we?\n")
    assert done.stdout.count("trip\n") == 2
    assert done.stderr.splitlines() == ["reset: trip", "deleted: trip"]
    (exported,) = map(json.loads, (tmp_path / "sessions.jsonl").read_text(encoding="utf-8").splitlines())
    assert [message["content"] for message in exported["turns"][0]["messages"]] == [
        "Where were we?",
        "Echo: Where were we?",
    ]


def test_talking_to_a_running_gateway(example: tuple[Launch, Running, Path], tmp_path: Path) -> None:
    config = {"gateway": {"port": example[1].port, "auth": {"token": "s3cret"}}}
    (tmp_path / "gateway.json5").write_text(json.dumps(config), encoding="utf-8")
    env = environment(tmp_path, {"GATEWAY_CONFIG_PATH": str(tmp_path / "gateway.json5"), "PYTHONPATH": str(ROOT)})
    shown = []
    for line in block("bash", "gateway health\n").splitlines():
        command = re.sub(r"(^|\| )gateway ", rf"\1{sys.executable} -m gateway ", line)
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path, env=env
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        shown.append(done.stdout)
    health, agent, history, status, logs, chat = shown
    assert health.startswith("ok: answered in ")
    assert "- text: Echo: hi\n" in agent
    assert json.loads(history)["messages"] == []
    assert status.startswith("gateway ")
    assert "listening on" in logs
    assert chat == "Echo: hi\n"


def test_the_commands(launch: Launch) -> None:
    rows = re.findall(r"^\| `gateway (.*?)` \|", section("Commands"), re.MULTILINE)
    shown = {row.split()[0]: set(re.findall(r"--[\w-]+", row)) for row in rows}
    overview = launch.command("--help").stdout
    for command, flags in shown.items():
        if command.startswith("--"):
            assert launch.command(command).returncode == 0, f"gateway {command} fails"
            assert command in overview
            continue
        assert re.search(rf"^\s+{command}\b", overview, re.MULTILINE), f"gateway --help does not list {command}"
        asked = launch.command(command, "--help")
        assert asked.returncode == 0, asked.stderr
        offered = set(re.findall(r"--[\w-]+", asked.stdout)) - {"--help"}
        assert flags == offered, f"gateway {command} has {sorted(offered)}, README.md lists {sorted(flags)}"


def test_the_fuzzing_commands(tmp_path: Path) -> None:
    commands = re.findall(r"^python -m fuzz\.run (.*)$", section("Fuzzing"), re.MULTILINE)
    assert len(commands) == 3
    (tmp_path / "crash-0123456789abcdef").write_bytes(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    for command in commands:
        quick = command.replace("--seconds 3600", "--seconds 1 --random")
        done = subprocess.run(
            ["/bin/sh", "-c", f"{sys.executable} -m fuzz.run {quick}"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", tables())
def test_the_tables(name: str) -> None:
    found = between(name).search(README)
    assert found, f"README.md has lost the marks of the table of {name}"
    assert found[2] == tables()[name], f"the {name} have changed: run `python tests/rules/readme_tables.py`"
