"""What is told of calls over gRPC, on both sides: spans of one trace, durations, statuses by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_peers import OWN, echo, fails, hang, in_turn, many, one, serving, talk, upload

from skerry import context
from skerry.client.grpc import grpc_channel
from skerry.context import CallContext
from skerry.errors import SkerryError, StatusError
from skerry.resilience import Hedge, Policy, Retry
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import HUB, RpcSent, RpcServed, Signal
from skerry.telemetry.spans import SpanEnded

BOUND = 60.0


@pytest.fixture
def heard() -> Iterator[list[Signal]]:
    found: list[Signal] = []
    end = HUB.subscribe(found.append, spans=True, measures=True)
    yield found
    end()


def policy() -> Policy:
    return Policy("peer", total=OWN, retry=Retry(2, base=0.01))


async def until_told(heard: list[Signal], kind: type[Signal], count: int = 1) -> list[Any]:
    """The first so many of this kind: streams are told of when gRPC says that they are over."""
    async with asyncio.timeout(BOUND):
        while True:
            found = [each for each in heard if isinstance(each, kind)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


def played(act: Any, behaviour: Any = echo) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(BOUND),
            serving(behaviour) as peer,
            grpc_channel("peer", url=peer.url, policy=policy(), safe=["/peer.Peer/Do"]) as channel,
        ):
            await act(channel, peer)

    asyncio.run(main())


async def ask(channel: grpc.aio.Channel, kind: str) -> None:
    if kind == "Do":
        await one(channel)(b"x")
    elif kind == "List":
        assert [each async for each in many(channel)(b"x")]
    elif kind == "Add":
        await upload(channel)(iter([b"x"]))
    else:
        assert [each async for each in talk(channel)(iter([b"x"]))]


@pytest.mark.parametrize("kind", ["Do", "List", "Add", "Talk"])
def test_a_call_is_a_span_and_a_duration(kind: str, heard: list[Signal]) -> None:
    """Of every kind of call; what arrived stands below it, and it below what called."""
    around = CallContext().child()

    async def act(channel: grpc.aio.Channel, peer: Any) -> None:
        with context.use(around):
            await ask(channel, kind)
        [told] = await until_told(heard, RpcSent)
        [span] = await until_told(heard, SpanEnded)
        address, port = peer.url.removeprefix("http://").split(":")
        assert (told.service, told.method, told.code, told.error) == ("peer", f"peer.Peer/{kind}", "OK", "")
        assert (told.address, told.port) == (address, int(port))
        assert (span.name, span.kind, span.error) == (f"peer.Peer/{kind}", "client", "")
        assert span.attributes == {
            "rpc.system.name": "grpc",
            "rpc.method": f"peer.Peer/{kind}",
            "server.address": address,
            "server.port": int(port),
            "service.peer.name": "peer",
            "rpc.status_code": "OK",
        }
        assert (span.trace_id, span.parent_id) == (around.trace_id, around.traceparent[36:52])
        assert peer.metadata[0]["traceparent"][36:52] == span.span_id

    played(act)


@pytest.mark.parametrize("kind", ["Do", "List", "Add", "Talk"])
def test_a_status_is_told_by_its_name(kind: str, heard: list[Signal]) -> None:
    """Each status but OK is an error to who calls."""

    async def act(channel: grpc.aio.Channel, _peer: Any) -> None:
        with pytest.raises(StatusError):
            await ask(channel, kind)
        [told] = await until_told(heard, RpcSent)
        [span] = await until_told(heard, SpanEnded)
        assert (told.code, told.error, span.error) == ("NOT_FOUND",) * 3

    played(act, fails(grpc.StatusCode.NOT_FOUND, "no such lamp"))


def test_each_attempt_is_told_of(heard: list[Signal]) -> None:
    """A call that is repeated has as many spans as it made attempts, of one trace also where none is around it."""

    async def act(channel: grpc.aio.Channel, peer: Any) -> None:
        with pytest.raises(SkerryError):
            await ask(channel, "Do")
        told = await until_told(heard, RpcSent, 2)
        assert [each.code for each in told] == ["UNAVAILABLE", "UNAVAILABLE"]
        first, second = await until_told(heard, SpanEnded, 2)
        assert (first.parent_id, second.parent_id) == ("", first.span_id)
        assert [each.attributes.get("previous-rpc-attempts") for each in (first, second)] == [None, 1]
        assert [each["traceparent"][3:52] for each in peer.metadata] == [
            f"{first.trace_id}-{each.span_id}" for each in (first, second)
        ]

    played(act, fails(grpc.StatusCode.UNAVAILABLE))


def test_a_hedge_says_that_it_is_one_more(heard: list[Signal]) -> None:
    """It lies within the first attempt, below which it stands: else it would be read as the same call, told of once more."""

    async def main() -> None:
        hedged = Policy("peer", total=OWN, hedge=Hedge(safe=True, after=0.01))
        async with (
            asyncio.timeout(BOUND),
            serving(in_turn(hang, echo)) as peer,
            grpc_channel("peer", url=peer.url, policy=hedged, safe=["/peer.Peer/Do"]) as channel,
        ):
            await ask(channel, "Do")
            told = {each.parent_id: each for each in await until_told(heard, SpanEnded, 2)}
        first = told.pop("")
        [(above, second)] = told.items()
        assert (above, second.attributes["previous-rpc-attempts"]) == (first.span_id, 1)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["Do", "List"])
def test_what_was_never_sent_has_no_status(kind: str, heard: list[Signal]) -> None:
    """Then the class of the error says why."""

    async def act() -> None:
        async with grpc_channel("peer", url="http://127.0.0.1:1", policy=Policy("peer", total=OWN)) as channel:
            with pytest.raises(SkerryError):
                await ask(channel, kind)
            [told] = await until_told(heard, RpcSent)
        assert (told.code, told.error) == ("", "Unreachable")

    asyncio.run(act())


@pytest.mark.parametrize(
    ("name", "code", "error"), [("Do", "OK", ""), ("Missing", "NOT_FOUND", ""), ("Break", "INTERNAL", "INTERNAL")]
)
def test_a_service_tells_of_what_it_answers(
    name: str, code: str, error: str, heard: list[Signal], tmp_path: Path
) -> None:
    """By method and status; only what is its own fault is an error, and it stands below the call."""

    async def do(request: bytes, _call: Any) -> bytes:
        return request

    async def missing(_request: bytes, call: Any) -> bytes:
        await call.abort(grpc.StatusCode.NOT_FOUND, "no such lamp")
        return b""

    async def broken(_request: bytes, _call: Any) -> bytes:
        raise RuntimeError("nobody foresaw this")

    methods = {
        called: grpc.unary_unary_rpc_method_handler(each)
        for called, each in (("Do", do), ("Missing", missing), ("Break", broken))
    }

    async def main() -> None:
        service = Service("stock", settings=Settings(data=tmp_path, host="127.0.0.1", grpc_port=0))
        service.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("peer.Peer", methods)])
        await service.start()
        url = f"http://127.0.0.1:{service.grpc.port}"
        try:
            async with asyncio.timeout(BOUND), grpc_channel("stock", url=url, policy=policy()) as channel:
                try:
                    await one(channel, name)(b"x")
                except StatusError:
                    assert code != "OK"
                [told] = await until_told(heard, RpcServed)
                client, server = sorted(await until_told(heard, SpanEnded, 2), key=lambda each: each.kind)
        finally:
            await service.stop()
        assert (told.service, told.method, told.code) == ("stock", f"peer.Peer/{name}", code)
        assert (server.kind, server.error) == ("server", error)
        assert server.attributes == {
            "rpc.system.name": "grpc",
            "rpc.method": f"peer.Peer/{name}",
            "rpc.status_code": code,
        }
        assert (server.trace_id, server.parent_id) == (client.trace_id, client.span_id)

    asyncio.run(main())
