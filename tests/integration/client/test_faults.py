"""Everything a peer and the way to it can do wrong, over real sockets: a typed error, in time, and no connection used again."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, Reader, Writer, answers, blackhole, breaks_after, drip, listening, receive, reply

from skerry.client import ServiceClient
from skerry.errors import AttemptTimeout, ConnectionLost, DeadlineExceeded, ReplyTooLarge, SkerryError
from skerry.resilience import Policy, Retry

TOTAL = 0.3
LATE_BY = 0.05
"""Seconds of the loop's own time after the deadline."""


def bare(**options: Any) -> Policy:
    """One attempt, so that each fault shows itself."""
    return Policy("stock", **{"total": TOTAL, "clock": LOOP_TIME, **options})


def at_first(misbehave: Behaviour) -> Behaviour:
    """Misbehave on the first connection; the others are served well."""

    async def behave(peer: Peer, reader: Reader, writer: Writer) -> None:
        await (misbehave if peer.connections == 1 else answers(reply(200, b"second")))(peer, reader, writer)

    return behave


async def silent_head(peer: Peer, reader: Reader, writer: Writer) -> None:
    await receive(peer, reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
    await reader.read()


async def pour(peer: Peer, reader: Reader, writer: Writer, head: bytes, piece: bytes) -> None:
    await receive(peer, reader)
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()


async def ten_gigabytes(peer: Peer, reader: Reader, writer: Writer) -> None:
    await pour(peer, reader, writer, b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n", bytes(2**20))


async def no_end(peer: Peer, reader: Reader, writer: Writer) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    await pour(peer, reader, writer, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk)


async def endless_headers(peer: Peer, reader: Reader, writer: Writer) -> None:
    await pour(peer, reader, writer, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000)


async def endless_header(peer: Peer, reader: Reader, writer: Writer) -> None:
    await pour(peer, reader, writer, b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65536)


async def endless_continues(peer: Peer, reader: Reader, writer: Writer) -> None:
    await receive(peer, reader)
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


LARGE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + b"".join(
    b"x%d: %s\r\n" % (n, b"y" * 8000) for n in range(20)
)
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"
BOMB = reply(200, gzip.compress(bytes(50 * 2**20)), content_encoding="gzip")
CUT = reply(200, gzip.compress(os.urandom(99))[:-9], content_encoding="gzip")

FAULTS: dict[str, tuple[Behaviour, type[SkerryError]]] = {
    "black hole": (blackhole, DeadlineExceeded),
    "drip": (drip, DeadlineExceeded),
    "half a head, then silence": (silent_head, DeadlineExceeded),
    "a head without an end of hints": (endless_continues, DeadlineExceeded),
    "reset before the reply": (breaks_after(abort=True), ConnectionLost),
    "closed before the reply": (breaks_after(), ConnectionLost),
    "reset in the body": (breaks_after(HALF, abort=True), ConnectionLost),
    "closed in the body": (breaks_after(HALF), ConnectionLost),
    "garbage": (breaks_after(b"\x16\x03\x01 no http \r\n\r\n"), ConnectionLost),
    "an encoded body that is cut": (breaks_after(CUT), ConnectionLost),
    "headers without end": (endless_headers, ConnectionLost),
    "a header without end": (endless_header, ConnectionLost),
    "headers too large together": (breaks_after(LARGE_HEAD + b"\r\n"), ReplyTooLarge),
    "ten gigabytes": (ten_gigabytes, ReplyTooLarge),
    "chunks without end": (no_end, ReplyTooLarge),
    "a bomb of 1 to 1,000": (breaks_after(BOMB), ReplyTooLarge),
}


@pytest.mark.parametrize(("misbehave", "kind"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_a_typed_error_in_time_and_its_connection_is_gone(
    misbehave: Behaviour, kind: type[SkerryError]
) -> None:
    """The call ends by its deadline with an error that says what is known, and the next one has a connection of its own."""

    async def main() -> None:
        async with (
            listening(at_first(misbehave)) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(), max_reply=2**20, clock=LOOP_TIME) as client,
        ):
            begun = LOOP_TIME.monotonic()
            with pytest.raises(kind):
                await client.get("/")
            assert LOOP_TIME.monotonic() <= begun + TOTAL + LATE_BY
            assert (await client.get("/")).content == b"second"
            assert peer.connections == 2

    run_patiently(main())


@pytest.mark.parametrize("misbehave", [drip, silent_head, blackhole], ids=["drip", "half a head", "black hole"])
def test_an_attempt_ends_by_its_own_limit_too(misbehave: Behaviour) -> None:
    """A fault of one attempt leaves the call time for another."""

    async def main() -> None:
        policy = bare(total=2.0, attempt=0.1, retry=Retry(2, base=0.001, clock=LOOP_TIME))
        async with (
            listening(at_first(misbehave)) as peer,
            ServiceClient("stock", url=peer.url, policy=policy, clock=LOOP_TIME) as client,
        ):
            assert (await client.get("/")).content == b"second"
        async with (
            listening(misbehave) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(attempt=0.1), clock=LOOP_TIME) as client,
        ):
            with pytest.raises(AttemptTimeout):
                await client.get("/")

    run_patiently(main())


@pytest.mark.parametrize("how", ["cancelled", "unread stream", "cancelled in the body"])
def test_a_connection_that_was_left_early_is_not_used_again(how: str) -> None:
    """Whoever goes before the end of a reply leaves a connection on which the rest of it would come to the next caller."""
    misbehave = blackhole if how == "cancelled" else drip

    async def leave(client: ServiceClient, peer: Peer) -> None:
        if how == "unread stream":
            async with client.stream("GET", "/") as stream:
                assert stream.status == 200
            return
        call = asyncio.create_task(client.get("/"))
        while not peer.requests:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05 if how == "cancelled in the body" else 0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    async def main() -> None:
        async with (
            listening(at_first(misbehave)) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(), clock=LOOP_TIME) as client,
        ):
            await leave(client, peer)
            assert (await client.get("/")).content == b"second"
            assert peer.connections == 2

    run_patiently(main())


# --- a server that goes while a connection is idle


async def dies_idle(peer: Peer, reader: Reader, writer: Writer) -> None:
    """Serve one request on a connection; take the next and close without an answer."""
    await receive(peer, reader)
    writer.write(reply(200, b"fine"))
    await receive(peer, reader)


@pytest.mark.parametrize(
    ("method", "options", "served"),
    [
        ("GET", {}, True),
        ("PUT", {"json": {}}, True),
        ("POST", {"json": {}}, False),
        ("PUT", {"content": "pieces"}, False),
    ],
)
def test_an_idle_connection_that_died_costs_an_idempotent_call_nothing(
    method: str, options: dict[str, Any], served: bool
) -> None:
    """Without a retry in the policy it is sent once more over a new connection, unless it may have taken effect or is used up."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"

    async def main() -> None:
        async with (
            listening(dies_idle) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(), clock=LOOP_TIME) as client,
        ):
            await client.get("/")
            given = {"content": pieces()} if "content" in options else options
            if served:
                assert (await client.request(method, "/", **given)).content == b"fine"
                assert (peer.connections, len(peer.requests)) == (2, 3)
            else:
                with pytest.raises(ConnectionLost):
                    await client.request(method, "/", **given)
                assert peer.connections == 1

    run_patiently(main())


def test_no_hidden_second_attempt_on_a_new_connection() -> None:
    """A server that breaks every connection sees one request a call: repeating is for the policy and its budget."""

    async def main() -> None:
        async with (
            listening(breaks_after()) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(), clock=LOOP_TIME) as client,
        ):
            with pytest.raises(ConnectionLost):
                await client.get("/")
            assert len(peer.requests) == 1

    run_patiently(main())


TCP_REPAIR = 19


@pytest.mark.root
def test_a_half_open_connection_is_found_out() -> None:
    """A peer that lost its connections without a word, as in a power cut, is called over a new one."""

    async def vanishes(peer: Peer, reader: Reader, writer: Writer) -> None:
        await receive(peer, reader)
        writer.write(reply(200, b"fine"))
        await writer.drain()
        if peer.connections == 1:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closed in repair, a socket sends neither FIN nor RST
            writer.transport.abort()

    async def main() -> None:
        async with (
            listening(vanishes) as peer,
            ServiceClient("stock", url=peer.url, policy=bare(), clock=LOOP_TIME) as client,
        ):
            assert (await client.get("/")).content == b"fine"
            assert (await client.get("/")).content == b"fine"
            assert peer.connections == 2

    run_patiently(main())


# --- a peer that is stopped

SERVER = """
import asyncio

async def serve(reader, writer):
    while await reader.readuntil(b"\\r\\n\\r\\n"):
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}")

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@asynccontextmanager
async def another_process() -> AsyncIterator[tuple[str, Callable[[signal.Signals], None]]]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}", process.send_signal
    finally:
        process.kill()
        await process.wait()


def test_a_stopped_peer_costs_its_deadline_and_no_more() -> None:
    """A process that is stopped takes connections and never answers; once it goes on, calls are served over new ones."""

    async def main() -> None:
        async with (
            another_process() as (url, send),
            ServiceClient("stock", url=url, policy=bare(), clock=LOOP_TIME) as client,
        ):
            assert (await client.get("/")).status == 200
            send(signal.SIGSTOP)
            for _ in range(2):  # over the connection there is, and over a new one
                begun = LOOP_TIME.monotonic()
                with pytest.raises(DeadlineExceeded):
                    await client.get("/")
                assert LOOP_TIME.monotonic() <= begun + TOTAL + LATE_BY
            send(signal.SIGCONT)
            patient = ServiceClient("stock", url=url, policy=bare(total=30.0), clock=LOOP_TIME)
            assert (await patient.get("/")).status == 200
            await patient.aclose()

    run_patiently(main())
