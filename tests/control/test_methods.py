"""Every method of the protocol is one that is checked, and says the scope that it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from websockets.asyncio.client import connect

from gateway import Gateway, RunInput
from gateway.control.method import Method, of_protocol
from gateway.control.params import PARAMS, SCOPES


async def silent(run: RunInput) -> str:
    return ""


async def all_methods() -> Mapping[str, Method]:
    """Those of a gateway, which they are made for with its first WebSocket."""
    async with Gateway(agents={"main": silent}, listen="127.0.0.1:0", token="t") as gateway:
        async with connect(gateway.urls[0].replace("http", "ws", 1)) as link:
            await link.recv()
        methods: Mapping[str, Method] = gateway._control.methods
        return methods


def test_each_is_checked_and_needs_its_scope() -> None:
    methods = asyncio.run(all_methods())
    assert {"health", "agent", "agent.wait"} <= methods.keys()
    unchecked = sorted(methods.keys() - PARAMS.keys())
    assert not unchecked, f"these take anything: give them shapes in gateway/control/params: {unchecked}"
    for name, method in methods.items():
        assert method.scope == SCOPES[name], f"{name} needs {SCOPES[name]}"
        assert method.scope_of is not None
        assert method.check is not None
        assert method.check([1]) is not None, f"{name} takes a list for its parameters"


def test_a_method_of_its_own_keeps_what_it_says() -> None:
    async def handler(_: object) -> None: ...

    method = Method("my.method", "operator.write", handler)
    assert of_protocol(method) is method


def test_a_check_of_its_own_is_kept() -> None:
    async def handler(_: object) -> None: ...

    def check(_: object) -> str | None:
        return "never"

    assert of_protocol(Method("health", None, handler, check)).check is check
