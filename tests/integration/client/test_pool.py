"""The pool of connections: bounded, not leaked by whoever leaves early, and not older than servers are patient."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from patience import LOOP_TIME, run_patiently
from peers import Peer, Reader, Writer, answers, blackhole, listening, receive, reply

from skerry.client import ServiceClient
from skerry.client.network import CONNECT_TIMEOUT, IDLE_EXPIRY, MAX_CONNECTIONS
from skerry.errors import BulkheadFull, ConfigurationError, ConnectionLost, DeadlineExceeded
from skerry.resilience import CircuitBreaker, Policy
from skerry.signals import Signal, subscribe


def client_of(
    peer: Peer, *, total: float = 5.0, breaker: CircuitBreaker | None = None, several: bool = False
) -> ServiceClient:
    policy = Policy("stock", total=total, breaker=breaker, clock=LOOP_TIME)
    url = f"{peer.url},{peer.url.partition('://')[2]}" if several else peer.url
    return ServiceClient("stock", url=url, policy=policy, clock=LOOP_TIME)


def test_calls_that_are_cancelled_leak_no_place() -> None:
    """After five hundred calls that were cancelled anywhere on their way, every place in the pool is free."""

    async def main() -> None:
        dice = random.Random(1)
        async with listening(answers(reply())) as peer, client_of(peer) as client:
            for _ in range(500):
                call = asyncio.create_task(client.get("/"))
                for _ in range(dice.randrange(12)):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
            calls = [client.get("/") for _ in range(MAX_CONNECTIONS)]
            assert {answered.status for answered in await asyncio.gather(*calls)} == {200}

    run_patiently(main())


@pytest.mark.parametrize("several", [False, True])
def test_a_call_beyond_the_pool_is_not_sent(*, several: bool) -> None:
    """When every connection is in use a call waits for a second. It is refused here then, which tells against no service and no
    instance of it.
    """
    breaker = CircuitBreaker()
    signals: list[Signal] = []

    async def main() -> None:
        async with listening(blackhole) as peer, client_of(peer, breaker=breaker, several=several) as client:
            taken = [asyncio.create_task(client.get("/")) for _ in range(MAX_CONNECTIONS)]
            while len(peer.requests) < MAX_CONNECTIONS:
                await asyncio.sleep(0)
            begun = LOOP_TIME.monotonic()
            unsubscribe = subscribe(signals.append)
            with pytest.raises(BulkheadFull):
                await client.get("/")
            unsubscribe()
            assert [(each.policy, each.reason) for each in signals] == [("stock", "bulkhead_full")]
            assert breaker.measured.calls == 0
            assert LOOP_TIME.monotonic() <= begun + CONNECT_TIMEOUT + 0.05
            for call in taken:
                call.cancel()
            await asyncio.wait(taken)
            assert len(peer.requests) == peer.connections == MAX_CONNECTIONS

    run_patiently(main())


def test_an_old_idle_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is left before the five seconds after which servers commonly close it."""
    passed = 0.0
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: LOOP_TIME.monotonic() + passed)

    async def main() -> None:
        nonlocal passed
        async with listening(answers(reply())) as peer, client_of(peer) as client:
            await client.post("/")
            passed += IDLE_EXPIRY + 0.1
            await client.post("/")
            assert peer.connections == 2

    assert IDLE_EXPIRY < 5
    run_patiently(main())


def test_a_client_outlives_an_event_loop() -> None:
    """A client made once for a module is used by one loop after another; connections of a loop that is over are not."""

    async def first() -> None:
        async with listening(answers(reply())) as peer:
            client.url = peer.url
            assert (await client.get("/")).status == (await client.get("/")).status == 200
            assert peer.connections == 1

    client = ServiceClient("stock", url="http://stock", policy=Policy("stock", clock=LOOP_TIME), clock=LOOP_TIME)
    for _ in range(2):
        run_patiently(first())
    run_patiently(client.aclose())


def test_two_event_loops_do_not_share_a_client() -> None:
    """A loop in another thread is told to make a client of its own, rather than take over connections that are in use."""

    async def call(client: ServiceClient) -> int:
        return (await client.get("/")).status

    async def main() -> None:
        async with listening(answers(reply())) as peer, client_of(peer) as client:
            assert await call(client) == 200
            with pytest.raises(ConfigurationError, match="one event loop"):
                await asyncio.to_thread(run_patiently, call(client))
            assert await call(client) == 200
            assert peer.connections == 1

    run_patiently(main())


def test_a_peer_that_takes_nothing_costs_the_deadline() -> None:
    """A body that the peer does not read ends with the call, and the connection with it."""

    async def deaf(peer: Peer, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(3600)

    async def main() -> None:
        async with listening(deaf) as peer, client_of(peer, total=0.3) as client:
            begun = LOOP_TIME.monotonic()
            with pytest.raises(DeadlineExceeded):
                await client.put("/", content=bytes(64 * 2**20))
            assert LOOP_TIME.monotonic() <= begun + 0.35

    run_patiently(main())


def test_a_reply_before_the_end_of_the_body_ends_the_call() -> None:
    """A peer that refuses a body without reading it is heard, or its connection is lost; the next call has another."""

    async def refuses(peer: Peer, reader: Reader, writer: Writer) -> None:
        if peer.connections > 1:
            await receive(peer, reader)
            writer.write(reply())
            return
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(413, b"too large", connection="close"))
        await writer.drain()

    async def main() -> None:
        async with listening(refuses) as peer, client_of(peer) as client:
            with suppress(ConnectionLost):  # the peer's system may throw its reply away with what it had not read
                assert (await client.post("/", content=bytes(16 * 2**20))).status == 413
            assert (await client.get("/")).status == 200
            assert peer.connections == 2

    run_patiently(main())
