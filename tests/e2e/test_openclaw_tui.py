"""The terminal program of OpenClaw, unmodified, in a terminal of its own, against this gateway."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from openclaw_product import Product, talking
from processes import TOKEN, Launch, Running, until
from terminal import Terminal

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(400)]


def tui(clients: Product, gateway: Running, folder: Path) -> Terminal:
    """Somebody's first start of the program: it makes its device, and remembers no session."""
    client = Product(clients.folder, folder / "home")
    command = client.command("tui", "--url", f"ws://127.0.0.1:{gateway.port}", "--token", TOKEN)
    return Terminal(command, client.environment(), folder)


def test_a_conversation(clients: Product, opposite: Running, tmp_path: Path) -> None:
    with tui(clients, opposite, tmp_path) as terminal:
        terminal.wait("gateway connected | idle")

        terminal.enter("hello there")
        screen = terminal.wait("Echo: hello there", "connected | idle")
        assert screen.count("Echo: hello there") == 1, screen

        name = f"count-{uuid.uuid4().hex}"
        terminal.enter(name)
        until("the agent was asked", lambda: opposite.marked(name, "started"), 20)
        partly = terminal.wait(" 4 5 6 ")
        terminal.wait(" 14 15 16 ")
        assert " 14 15 16 " not in partly, f"the reply is not streamed:\n{partly}"
        terminal.press("Escape")
        screen = terminal.wait("run aborted", "aborted")
        until("the agent was stopped", lambda: opposite.marked(name, "cancelled"), 20)
        assert "14 15 16" in screen, f"what was said before the abort is gone:\n{screen}"

        terminal.enter("/new")
        screen = terminal.wait("new session: agent:main:tui-")
        assert "hello there" not in screen
        terminal.enter("a new start")
        screen = terminal.wait("Echo: a new start", "connected | idle")
        assert screen.count("Echo: a new start") == 1, screen

        terminal.enter("/exit")
        terminal.wait("ended with 0")


def test_history_and_sessions(clients: Product, opposite: Running, tmp_path: Path) -> None:
    """What was said by others is there when it connects; models and sessions can be listed, a session can be reset."""
    said = clients.run(opposite, "agent", "--agent", "main", "--message", "said before", how="config")
    assert said.stdout.strip() == "Echo: said before", said
    with tui(clients, opposite, tmp_path) as terminal:
        terminal.wait("said before", "Echo: said before", "gateway connected | idle")

        for command, box, listed in (("/models", "search:", "→ gateway/main"), ("/sessions", "Filter:", "→ main")):
            terminal.enter(command)
            terminal.wait(box, listed)
            terminal.press("Escape")
            terminal.wait(without=box)

        terminal.enter("/reset")
        terminal.wait("session agent:main:main reset")
        terminal.enter("after the reset")
        screen = terminal.wait("Echo: after the reset", "connected | idle")
        assert "said before" not in screen
        terminal.enter("/exit")
        terminal.wait("ended with 0")


def test_a_restart(clients: Product, launch: Launch, tmp_path: Path) -> None:
    """It finds the successor of its gateway by itself, as the device that it was, and what was said is still there."""
    config = launch.file(talking())
    first = launch(config)
    with tui(clients, first, tmp_path) as terminal:
        terminal.wait("gateway connected | idle")
        terminal.enter("hello there")
        terminal.wait("Echo: hello there", "connected | idle")
        assert first.end() == 0
        terminal.wait("gateway disconnected: service restart")
        launch(config, "--port", str(first.port))
        screen = terminal.wait("gateway reconnected", "Echo: hello there")
        assert screen.count("Echo: hello there") == 1, screen
        terminal.enter("a new start")
        terminal.wait("Echo: a new start", "connected | idle")
        terminal.enter("/exit")
        terminal.wait("ended with 0")
    listed = Product(clients.folder, tmp_path / "home").run(first, "devices", "list")
    assert "Paired (1)" in listed.stdout, listed.stdout


def test_commands_of_the_gateway(clients: Product, launch: Launch, tmp_path: Path) -> None:
    """Runs that take no time leave it idle."""
    gateway = launch({**talking(), "session": {"slashCommands": True}})
    with tui(clients, gateway, tmp_path) as terminal:
        terminal.wait("gateway connected | idle")
        for name in ("one", "two", "three", "four", "five"):
            terminal.enter("/status")
            terminal.wait("Runs under way: none", "connected | idle")
            terminal.enter(name)  # it would be refused by a program that waits
            terminal.wait(f"Echo: {name}", "connected | idle")
        terminal.enter("/exit")
        terminal.wait("ended with 0")
