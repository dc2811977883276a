"""The requests of keys, counted in several processes; and the limits that are divided among them."""

from __future__ import annotations

import asyncio
import socket

import pytest
from channels import Party, party, true_soon

from gateway.api.keys import Rates
from gateway.config.schema import Config
from gateway.config.schema_agents import AgentEntry
from gateway.errors import RequestError
from gateway.model.caller import Rate
from gateway.workers.portions import portion
from gateway.workers.rates import SharedRates

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

RATE = Rate(6, 60.0)


async def two(made: Party, now: list[float]) -> tuple[tuple[Rates, SharedRates], tuple[Rates, SharedRates]]:
    found = []
    for number in (1, 2):
        rates = Rates(lambda: now[0])
        found.append((rates, SharedRates(await made.join(made.channel(number)), rates)))
    return found[0], found[1]


def left(rates: Rates) -> float:
    return rates._left("k", RATE)


def test_what_is_spent_in_one_process_is_spent_in_all() -> None:
    async def main() -> None:
        now = [100.0]
        async with asyncio.timeout(20), party(2) as made:
            (one, _), (other, _) = await two(made, now)
            for _ in range(4):
                one.take("k", RATE)
            await true_soon(lambda: left(other) == 2)
            other.take("k", RATE)
            other.give_back("k")
            other.take("k", RATE)
            other.take("k", RATE)
            await true_soon(lambda: left(one) == 0)
            for rates in (one, other):
                with pytest.raises(RequestError) as caught:
                    rates.take("k", RATE)
                assert caught.value.status == 429
            now[0] += 10.0
            one.take("k", RATE)
            await true_soon(lambda: left(other) == 0)

    asyncio.run(main())


def test_what_both_spend_in_the_same_moment_is_paid_back() -> None:
    async def main() -> None:
        now = [100.0]
        async with asyncio.timeout(20), party(2) as made:
            (one, told), (other, too) = await two(made, now)
            for _ in range(6):
                one.take("k", RATE)
                other.take("k", RATE)
            told.close()
            too.close()
            await true_soon(lambda: left(one) == left(other) == -6)
            now[0] += 69.0
            for rates in (one, other):
                with pytest.raises(RequestError) as caught:
                    rates.take("k", RATE)
                headers = dict(caught.value.headers)
                assert headers[b"x-ratelimit-remaining-requests"] == b"0"
            now[0] += 1.0
            one.take("k", RATE)

    asyncio.run(main())


def test_limits_are_divided() -> None:
    config = Config()
    agents = config.agents.replace(
        max_concurrent_runs=101,
        defaults=config.agents.defaults.replace(max_concurrent=7),
        list=(AgentEntry(id="a", max_concurrent=5), AgentEntry(id="b")),
    )
    config = config.replace(agents=agents, tools=config.tools.replace(max_invocations=16))
    parted = portion(config, 2)
    assert parted.agents.max_concurrent_runs == 50
    assert parted.agents.defaults.max_concurrent == 3
    assert [entry.max_concurrent for entry in parted.agents.list] == [2, None]
    assert parted.tools.max_invocations == 8
    assert portion(config, 1) == config
    assert portion(Config(), 2).agents.defaults.max_concurrent == 0, "no limit stays none"
    many = portion(config, 6)
    assert many.agents.list[0].max_concurrent == 1, "0 would be no limit at all"
