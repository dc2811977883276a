"""Methods and events of an embedder's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import pytest
from asking import TOKEN
from dialogue import Client, RefusedError
from dialogue import talk as connected
from results import conforms
from test_system import talk

import gateway
from gateway.agents.function import echo
from gateway.control.events import EVENTS
from gateway.control.params import SCOPES
from gateway.errors import ConfigError, ToolError


@dataclass
class Report:
    city: str
    degrees: float


def made() -> gateway.Gateway:
    return gateway.Gateway(agents={"main": echo}, token=TOKEN, listen="127.0.0.1:0")


def extended(
    extend: Callable[[gateway.Gateway], Any], test: Callable[[Client, gateway.Gateway], Any], **given: Any
) -> None:
    async def main() -> None:
        gw = made()
        extend(gw)
        async with asyncio.timeout(30), gw, connected(gw, **given) as client:
            await test(client, gw)

    asyncio.run(main())


def weather(gw: gateway.Gateway) -> None:
    @gw.rpc("weather.get", scope="operator.read")
    async def get(city: str, days: int = 1, unit: Literal["C", "F"] = "C") -> Report:
        assert unit in {"C", "F"}
        return Report(city, 20.5 * days)

    @gw.rpc("weather.set", scope="operator.weather")
    async def put(call: gateway.Call, city: str) -> dict[str, Any]:
        call.accept({"status": "accepted"})
        return {"city": city, "by": call.client.conn_id, "caller": call.caller.id}

    @gw.rpc(
        "weather.raw", scope=None, params={"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}}
    )
    async def raw(call: gateway.Call) -> Any:
        match call.params.get("n"):
            case 3:
                raise gateway.RpcError("UNAVAILABLE", "no rain today", retryable=True, retry_after_ms=5)
            case 4:
                raise ToolError("ask again")
            case 5:
                raise KeyError("a secret")
            case 6:
                return object
            case 7:
                return float("nan")
            case _:
                pass
        return dict(call.params)

    @gw.rpc("weather.admin")
    async def admin() -> str:
        return "rain"


def test_typed_methods_take_their_parameters_by_name() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        conforms("HelloOk", client.hello)
        assert {"weather.get", "weather.set", "weather.raw"} <= set(client.hello["features"]["methods"])
        assert await client.request("weather.get", city="Berne", days=2) == {"city": "Berne", "degrees": 41.0}
        number = await client.send("weather.set", city="Berne")
        assert await client.answer(number) == {"status": "accepted"}
        answer = await client.answer(number, 2)
        assert answer == {"city": "Berne", "by": client.hello["server"]["connId"], "caller": ""}
        assert await client.request("weather.admin", None) == "rain"
        for params, fault in (
            ({}, "`city` is missing"),
            ({"city": 1}, "`city` has to be a string, not an integer"),
            ({"city": "x", "unit": "K"}, "`unit` has to be one of"),
            ({"city": "x", "wind": 1}, "there is no `wind`"),
        ):
            with pytest.raises(RefusedError) as caught:
                await client.request("weather.get", params)
            assert caught.value.error["code"] == "INVALID_REQUEST"
            assert caught.value.error["message"].startswith(f"invalid weather.get params: {fault}")

        await client.raw({"type": "req", "id": "odd", "method": "weather.get", "params": "Berne"})
        with pytest.raises(RefusedError, match="params: the whole has to be an object, not a string"):
            await client.answer("odd")

    extended(weather, ask)


def test_what_goes_wrong_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert await client.request("weather.raw", n=10, more=True) == {"n": 10, "more": True}
        faults = {
            2: {"code": "INVALID_REQUEST", "message": "invalid weather.raw params: `n` has to be at least 3"},
            3: {"code": "UNAVAILABLE", "message": "no rain today", "retryable": True, "retryAfterMs": 5},
            4: {"code": "INVALID_REQUEST", "message": "ask again"},
            5: {"code": "UNAVAILABLE", "message": "weather.raw failed: internal error"},
            7: {"code": "UNAVAILABLE", "message": "weather.raw failed: internal error"},
        }
        for number, shape in faults.items():
            with pytest.raises(RefusedError) as caught:
                await client.request("weather.raw", n=number)
            assert caught.value.error == shape
        assert "a secret" in caplog.text
        assert isinstance(await client.request("weather.raw", n=6), str)

    extended(weather, ask)


def test_scopes_hold() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert await client.request("weather.raw") == {}
        assert (await client.request("weather.get", city="x"))["city"] == "x"
        for method, scope in (("weather.set", "operator.weather"), ("weather.admin", "operator.admin")):
            with pytest.raises(RefusedError) as caught:
                await client.request(method, city="x")
            assert caught.value.error["details"]["missingScope"] == scope

    extended(weather, ask, scopes=("operator.read",))


def test_methods_and_events_that_come_later_are_there_for_who_comes_later() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        @gw.rpc("late.one", scope=None)
        async def one() -> int:
            return 1

        event = gw.event("late.news", scope=None)
        assert "late.one" not in client.hello["features"]["methods"]
        assert await client.request("late.one") == 1
        async with connected(gw) as other:
            assert "late.one" in other.hello["features"]["methods"]
            assert "late.news" in other.hello["features"]["events"]
            event.send({"number": 1})
            assert await other.event("late.news") == {"number": 1}
        assert await client.event("late.news") == {"number": 1}

    extended(lambda gw: None, ask)


def test_events_are_for_those_with_the_scope() -> None:
    events: list[Any] = []

    def extend(gw: gateway.Gateway) -> None:
        events.extend(
            (gw.event("news.all", scope=None), gw.event("news.read"), gw.event("news.rain", scope="operator.rain"))
        )
        for event in events:
            event.send({"nobody": "is there"})

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        for event in (*reversed(events), events[0]):
            event.send({"report": Report("Berne", 1.0)})
        for name in ("news.read", "news.all", "news.all"):
            assert await client.event(name) == {"report": {"city": "Berne", "degrees": 1.0}}
        for event in client.events:
            conforms("EventFrame", event)
        assert not client.seen("news.rain")
        with pytest.raises(ValueError, match="JSON"):
            events[0].send({"nan": float("nan")})

    extended(extend, ask, scopes=("operator.read",))


def sync() -> None:
    """No coroutine function."""


async def nothing() -> None:
    """Nothing to do."""


async def unclear(what: complex) -> None:
    """Has no schema."""


REGISTRATIONS: dict[str, Callable[[gateway.Gateway], Any]] = {
    "method agent: there is one of this name already": lambda gw: gw.rpc("agent")(nothing),
    "method chat.send: there is one of this name already": lambda gw: gw.rpc("chat.send")(nothing),
    "method x.y: there is one": lambda gw: (gw.rpc("x.y")(nothing), gw.rpc("x.y")(nothing)),
    "method '': a name is words": lambda gw: gw.rpc("")(nothing),
    "method 'a b': a name is words": lambda gw: gw.rpc("a b")(nothing),
    "event 'a..b': a name is words": lambda gw: gw.event("a..b"),
    "of 128 characters at most": lambda gw: gw.rpc("a" * 129)(nothing),
    "event tick: there is one of this name already": lambda gw: gw.event("tick"),
    "is no coroutine function; write `async def`": lambda gw: gw.rpc("x.y")(cast(Any, sync)),
    "method x.y: `what`: complex has no JSON Schema": lambda gw: gw.rpc("x.y")(unclear),
    "does not take more, which its parameters have": lambda gw: gw.rpc(
        "x.y", params={"properties": {"what": {}, "more": {}}}
    )(unclear),
    "'no scope' is no scope": lambda gw: gw.rpc("x.y", scope="no scope")(nothing),
}


@pytest.mark.parametrize("message", REGISTRATIONS)
def test_what_cannot_be_registered_is_refused(message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        REGISTRATIONS[message](made())
    assert message in str(caught.value)


def test_all_names_of_the_protocol_are_taken() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert set(client.hello["features"]["methods"]) <= {*SCOPES}
        assert client.hello["features"]["events"] == [*EVENTS]

    talk(ask)


def test_who_registers_nothing_loads_nothing_of_it() -> None:
    script = "import gateway, sys; gateway.Gateway(agents={'a': print}); assert 'gateway.control' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
