"""What a turn costs that is kept, besides what any turn costs: time of the processor, of all threads."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import Launch, Running, configuration
from siege import FULL
from talking import Talk

MOST = 1.5
"""Milliseconds."""

TURNS = 2_000 if FULL else 400
TRIES = 5 if FULL else 3


def spent(gateway: Running) -> float:
    """Milliseconds on a processor, since its start."""
    tasks = Path(f"/proc/{gateway.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e6


async def turns(gateway: Running, name: str | None, clients: int) -> None:
    """Each client has a session at a time, of 20 turns."""

    async def one(client: int) -> None:
        async with await Talk.to(gateway.port) as talk:
            for number in range(TURNS // clients):
                key = None if name is None else f"{name} {client} {number // 20}"
                await talk.say(key, f"{number} " + "a question of some words " * 4)

    await asyncio.gather(*(one(client) for client in range(clients)))


@pytest.mark.skipif(sys.platform != "linux", reason="the time of a process is read from /proc")
@pytest.mark.parametrize("clients", [1, 20])
def test_a_durable_turn(launch: Launch, tmp_path: Path, clients: int) -> None:
    config: dict[str, Any] = configuration()
    config["session"] = {"store": str(tmp_path / "state" / "sessions.db")}
    gateway = launch(config)

    def cost(name: str | None) -> float:
        before = spent(gateway)
        asyncio.run(turns(gateway, name, clients))
        return (spent(gateway) - before) / TURNS

    cost(None)
    cost("warm")
    stateless = min(cost(None) for _ in range(TRIES))
    durable = min(cost(f"try {number}") for number in range(TRIES))
    print(f"\n{clients} clients: stateless {stateless:.3f} ms, durable {durable:.3f} ms of CPU for each turn")
    assert durable - stateless < MOST
    assert gateway.end() == 0
