"""Bodies and protocols that pass through the embedded engine as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from peers import Peer, Reader, Writer, answers, receive, reply
from stage import Stage, on_stage

SPEC = """
limits: {body: 64 MiB}
defaults: {policy: {total: 60, attempt: 60, retry: {attempts: 2}}}
routes: [{path: /, service: stock}]
"""


def play(
    behaviour: Callable[[Peer, Reader, Writer], Awaitable[None]],
    act: Callable[[Stage], Awaitable[None]],
    spec: str = SPEC,
) -> None:
    on_stage(spec, {"stock": behaviour}, act)


async def head_of(reader: Reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def connected(stage: Stage) -> tuple[Reader, Writer]:
    return await asyncio.open_connection("127.0.0.1", stage.port)


def test_a_websocket_passes_both_ways() -> None:
    """After 101 bytes go both ways as they are, those that came early too; the end of one side is the end of the other."""
    ended = asyncio.Event()

    async def echo(peer: Peer, reader: Reader, writer: Writer) -> None:
        head = (await head_of(reader)).lower()
        assert b"connection: upgrade" in head
        assert b"upgrade: websocket" in head
        assert b"sec-websocket-key: k" in head
        writer.write(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nhello "
        )
        while piece := await reader.read(65536):
            writer.write(piece.upper())
        ended.set()

    async def act(stage: Stage) -> None:
        reader, writer = await connected(stage)
        writer.write(
            b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly"
        )
        head = await head_of(reader)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: a" in head
        assert await reader.readexactly(11) == b"hello EARLY"
        writer.write(b"x" * 300_000)
        assert await reader.readexactly(300_000) == b"X" * 300_000
        writer.close()
        await ended.wait()

    play(echo, act)


def test_a_service_that_does_not_upgrade_answers_as_ever() -> None:
    """A refused upgrade is an ordinary answer, and the connection goes on."""

    async def act(stage: Stage) -> None:
        reader, writer = await connected(stage)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            assert await reader.readexactly(2) == b"no"
        writer.close()

    play(answers(reply(403, b"no")), act)


def test_events_pass_one_by_one() -> None:
    """Each piece of an event stream reaches the client before the next one is sent."""
    go = asyncio.Queue[bytes]()

    async def stream(peer: Peer, reader: Reader, writer: Writer) -> None:
        await receive(peer, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while event := await go.get():
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")
        await receive(peer, reader)

    async def act(stage: Stage) -> None:
        async with stage.client.stream("GET", "/events") as response:
            pieces = response.aiter_bytes()
            for number in range(3):
                event = b"data: %d\n\n" % number
                go.put_nowait(event)
                assert await anext(pieces) == event
            go.put_nowait(b"")
            assert [piece async for piece in pieces] == []

    play(stream, act)


def test_an_upload_waits_for_its_service() -> None:
    """A service that does not read holds up the client instead of filling the gateway; then all of the body arrives."""
    read_on = asyncio.Event()
    got: list[int] = []

    async def slow(peer: Peer, reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        await read_on.wait()
        left = 50 * 2**20
        while left:
            left -= len(await reader.read(min(left, 2**20)))
        got.append(left)
        writer.write(reply(200, b"thanks"))

    async def act(stage: Stage) -> None:
        reader, writer = await connected(stage)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (50 * 2**20))
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(50):
                writer.write(bytes(2**20))
                await writer.drain()
                sent += 1

        sending = asyncio.create_task(send())
        for _ in range(40):
            await asyncio.sleep(0.005)
        assert sent < 45
        read_on.set()
        await sending
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
        assert got == [0]
        writer.close()

    play(slow, act)


def test_a_chunked_upload_arrives_in_chunks() -> None:
    """A body without a length is sent on as it comes, its trailers dropped."""

    async def take(peer: Peer, reader: Reader, writer: Writer) -> None:
        head = await head_of(reader)
        assert b"transfer-encoding: chunked" in head
        assert b"content-length" not in head
        assert await reader.readexactly(len(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        writer.write(reply(200, b"ok"))

    async def act(stage: Stage) -> None:
        reader, writer = await connected(stage)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()

    play(take, act)


@pytest.mark.parametrize(
    "framing",
    [b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"\r\nabc"],
    ids=["chunks", "until close"],
)
def test_an_old_client_gets_no_chunks(framing: bytes) -> None:
    """HTTP/1.0 does not know chunks: the end of the connection is the end of the body."""

    async def send(peer: Peer, reader: Reader, writer: Writer) -> None:
        await receive(peer, reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing)

    async def act(stage: Stage) -> None:
        answer = await stage.raw(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"abc"
        assert b"connection: close" in head
        assert b"transfer-encoding" not in head

    play(send, act)


def test_a_body_is_sent_again_whole() -> None:
    """A PUT whose first attempt is answered 503 reaches the service a second time with all of its body."""
    seen: list[bytes] = []

    async def busy_once(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            seen.append((await receive(peer, reader)).body)
            writer.write(reply(503 if len(seen) == 1 else 200, b"done"))

    async def act(stage: Stage) -> None:
        response = await stage.client.put("/", content=b"x" * 20_000)
        assert (response.status_code, response.content) == (200, b"done")
        assert seen == [b"x" * 20_000] * 2

    play(busy_once, act)


def test_a_body_too_long_to_be_kept_is_sent_once() -> None:
    """Beyond what is kept the service's own answer passes, whatever the policy would like."""

    async def act(stage: Stage) -> None:
        response = await stage.client.put("/", content=b"x" * 200_000)
        assert response.status_code == 503
        assert len(stage.peers["stock"].requests) == 1

    play(answers(reply(503)), act)


def test_a_connection_that_closed_just_now_costs_nothing() -> None:
    """When a service closes a connection that waited, the next request goes out again on a fresh one, without an attempt."""

    async def once_each(peer: Peer, reader: Reader, writer: Writer) -> None:
        await receive(peer, reader)
        writer.write(reply(200, b"one"))
        await receive(peer, reader)  # the second request on it, which gets no answer

    async def act(stage: Stage) -> None:
        for _ in range(4):
            response = await stage.client.get("/")
            assert (response.status_code, response.content) == (200, b"one")

    play(once_each, act, SPEC.replace("attempts: 2", "attempts: 1"))


def test_a_refused_body_does_not_reset_the_answer() -> None:
    """A client in the middle of sending what is refused still reads the refusal."""

    async def act(stage: Stage) -> None:
        reader, writer = await connected(stage)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + bytes(200_000))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413 ")
        writer.close()

    play(answers(reply()), act)


def test_an_early_answer_ends_the_upload() -> None:
    """A service that answers before the body is there is heard, and the client's connection then closes."""

    async def no_thanks(peer: Peer, reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(reply(403, b"no"))
        await reader.read()

    async def act(stage: Stage) -> None:
        answer = await stage.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(b"no")
        assert b"connection: close" in answer

    play(no_thanks, act)
