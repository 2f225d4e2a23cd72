from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry import context
from skerry.client import AsgiTransport, Reply, ServiceClient
from skerry.context import CallContext
from skerry.errors import AttemptTimeout, ConnectionLost
from skerry.resilience import Hedge, Policy
from skerry.signals import RequestSent, Signal, subscribe
from skerry.testing import VirtualClock, run_virtual


def client_of(app: Any, **options: Any) -> ServiceClient:
    options.setdefault("policy", Policy("stock", total=5.0))
    return ServiceClient("stock", url="http://stock:81/base", transport=AsgiTransport(app), **options)


def called(app: Any, method: str = "POST", **options: Any) -> Reply:
    async def main() -> Reply:
        async with client_of(app) as client:
            return await client.request(method, "/items/%C3%A4?x=1", **options)

    return asyncio.run(main())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    told = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {body.decode()}"
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-told", told.encode())]})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


def test_an_application_is_called_as_by_a_server() -> None:
    """Path, query, body and the pieces of the reply pass; a HEAD brings no body."""
    reply = called(echo, content=b"hello")
    assert (reply.status, reply.content) == (201, b"one two")
    assert reply.headers["x-told"] == "POST /base/items/ä x=1 hello".encode().decode("latin-1")
    assert called(echo, "HEAD").content == b""


def test_the_callers_context_stays_behind() -> None:
    """What the caller's task knows reaches the application in headers, as over a network, or not at all."""
    seen: list[CallContext] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(context.current())
        await echo(scope, receive, send)

    with context.use(CallContext(priority=7)):
        called(app)
    assert seen == [context.EMPTY]


def test_an_application_that_fails_is_a_lost_connection() -> None:
    """The caller sees what a caller over a network would see; the cause is there for whoever looks for it."""

    async def fails(*_: Any) -> None:
        raise KeyError("no such thing")

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    with pytest.raises(ConnectionLost) as caught:
        called(fails)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConnectionLost):
        called(half)


def test_an_application_is_stopped_when_its_caller_has_left() -> None:
    """A call that timed out leaves nothing running, in virtual time as well."""
    ended: list[str] = []

    async def sleeps(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=5.0, attempt=1.0, clock=clock)
        async with client_of(sleeps, policy=policy, clock=clock) as client:
            with pytest.raises(AttemptTimeout):
                await client.get("/")
        await clock.sleep(0)

    run_virtual(main)
    assert ended == ["cancelled"]


@pytest.mark.parametrize(("method", "key", "times"), [("GET", None, 2), ("POST", None, 1), ("POST", "k", 2)])
def test_only_what_may_be_repeated_is_hedged(method: str, key: str | None, times: int) -> None:
    """A policy's hedge sends no second request for one that may have taken effect."""

    async def main(clock: VirtualClock) -> None:
        begun: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(scope["method"])
            await clock.sleep(0.5)
            await echo(scope, receive, send)

        policy = Policy("stock", hedge=Hedge(safe=True, after=0.1), clock=clock)
        async with client_of(app, policy=policy, clock=clock) as client:
            await client.request(method, "/items", idempotency_key=key)
        assert len(begun) == times

    run_virtual(main)


def test_a_call_at_the_beginning_of_virtual_time_is_measured() -> None:
    """Zero is a time like any other: how long the first call took is told, without spans too."""
    heard: list[Signal] = []

    async def main(clock: VirtualClock) -> None:
        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await clock.sleep(0.5)
            await echo(scope, receive, send)

        async with client_of(slow, policy=Policy("stock", total=5.0, clock=clock), clock=clock) as client:
            await client.post("/")

    end = subscribe(heard.append, measures=True)
    run_virtual(main)
    end()
    assert [told.seconds for told in heard if isinstance(told, RequestSent)] == [0.5]
