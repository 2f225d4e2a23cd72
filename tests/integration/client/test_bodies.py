"""Bodies that are not all there at once, both ways: streams, forms, files."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, Reader, Writer, answers, breaks_after, drip, listening, receive, reply

from skerry.client import Reply, ServiceClient
from skerry.client.policy import is_failure
from skerry.client.stream import MAX_LINE
from skerry.context import CallContext, use
from skerry.errors import CallError, ConnectionLost, DeadlineExceeded, ReplyTooLarge
from skerry.resilience import Policy, Retry
from skerry.signals import CallTimedOut, Signal, subscribe

TOTAL = 0.3


def policy(attempts: int = 2) -> Policy:
    return Policy("stock", total=TOTAL, retry=Retry(attempts, base=0.001, clock=LOOP_TIME), clock=LOOP_TIME)


def streamed(behaviour: Behaviour, how: str = "bytes", **options: Any) -> tuple[list[Any], Peer]:
    """What a stream gives, and after it an error if there was one."""

    async def main() -> tuple[list[Any], Peer]:
        got: list[Any] = []
        async with listening(behaviour) as peer:
            async with ServiceClient(
                "stock", url=peer.url, policy=policy(), max_reply=2**20, clock=LOOP_TIME
            ) as client:
                try:
                    async with client.stream("GET", "/", **options) as stream:
                        got.append(stream.status)
                        got += [
                            each async for each in (stream.aiter_lines() if how == "lines" else stream.aiter_bytes())
                        ]
                except CallError as error:
                    got.append(error)
                except DeadlineExceeded as error:
                    got.append(error)
            return got, peer

    return run_patiently(main())


def test_a_stream_is_read_piece_by_piece() -> None:
    """A body over `max_reply` can be streamed, and one that was read to its end leaves its connection for the next."""

    async def main() -> None:
        async with listening(answers(reply(200, bytes(3 * 2**20)))) as peer:
            async with ServiceClient(
                "stock", url=peer.url, policy=policy(), max_reply=2**20, clock=LOOP_TIME
            ) as client:
                for _ in range(2):
                    async with client.stream("GET", "/") as stream:
                        sizes = [len(piece) async for piece in stream.aiter_bytes()]
                    assert sum(sizes) == 3 * 2**20
                    assert max(sizes) <= 2**20
            assert peer.connections == 1

    run_patiently(main())


def test_lines_are_whole_and_decoded() -> None:
    """Lines come without their ends, however the body was cut and encoded."""
    body = gzip.compress(b"one\r\ntwo\n\nlast")
    got, _ = streamed(answers(reply(200, body, content_encoding="gzip")), "lines")
    assert got == [200, "one", "two", "", "last"]


def test_a_line_has_a_bound() -> None:
    """A line that does not end is not collected for ever."""
    got, _ = streamed(answers(reply(200, b"x" * (MAX_LINE + 70_000))), "lines")
    assert isinstance(got[-1], ReplyTooLarge)


def test_a_dripping_stream_ends_at_the_deadline() -> None:
    """Every read has the time that is left of the policy's total, and one signal says that it was over."""
    heard: list[Signal] = []
    unsubscribe = subscribe(heard.append)
    try:
        got, _ = streamed(drip)
    finally:
        unsubscribe()
    assert isinstance(got[-1], DeadlineExceeded)
    assert not got[-1].imposed
    assert [(s.policy, s.scope) for s in heard if isinstance(s, CallTimedOut)] == [("stock", "total")]


def test_a_callers_deadline_holds_for_a_stream() -> None:
    """An earlier deadline around the call ends the reading, and is not held against the callee."""

    async def main() -> None:
        async with (
            listening(drip) as peer,
            ServiceClient("stock", url=peer.url, policy=policy(), clock=LOOP_TIME) as client,
        ):
            begun = LOOP_TIME.monotonic()
            with use(CallContext(deadline=begun + 0.1)), pytest.raises(DeadlineExceeded) as caught:  # noqa: PT012
                async with client.stream("GET", "/") as stream:
                    async for _ in stream.aiter_bytes():
                        pass
            assert caught.value.imposed
            assert LOOP_TIME.monotonic() <= begun + 0.15

    run_patiently(main())


def test_a_stream_that_breaks_off_says_so() -> None:
    """Half a body is not taken for a whole one."""
    got, _ = streamed(breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"))
    assert isinstance(got[-1], ConnectionLost)


def test_a_stream_whose_client_was_closed_says_so_too() -> None:
    """In the words of the client, and not of what is below it."""

    async def main() -> None:
        async with listening(drip) as peer:
            client = ServiceClient("stock", url=peer.url, policy=policy(), clock=LOOP_TIME)
            async with client.stream("GET", "/") as stream:
                pieces = stream.aiter_bytes()
                await anext(pieces)
                await client.aclose()
                with pytest.raises(ConnectionLost):
                    _ = [piece async for piece in pieces]

    run_patiently(main())


def test_a_stream_is_retried_until_its_head_is_here() -> None:
    """A 503 is tried again; when attempts are over the last reply is what is streamed."""
    got, peer = streamed(answers(reply(503), reply(200, b"now")))
    assert got == [200, b"now"]
    got, peer = streamed(answers(reply(503, b"busy")))
    assert got == [503, b"busy"]
    assert len(peer.requests) == 2


def test_the_rest_of_a_stream_can_be_taken_whole() -> None:
    """`reply` brings what an ordinary call would have brought, within `max_reply`."""

    async def main() -> Reply:
        async with (
            listening(answers(reply(404, b'{"detail":"none"}'))) as peer,
            ServiceClient("stock", url=peer.url, policy=policy(), clock=LOOP_TIME) as client,
            client.stream("GET", "/") as stream,
        ):
            return await stream.reply()

    assert run_patiently(main()).json() == {"detail": "none"}


# --- what goes out


async def takes_all(peer: Peer, reader: Reader, writer: Writer) -> None:
    """Answer after a body in chunks, which `receive` does not know, has come to its end."""
    while True:
        request = await receive(peer, reader)
        if request.headers.get("transfer-encoding") == "chunked":
            while (size := int((await reader.readuntil(b"\r\n")), 16)) > 0:
                request.body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        writer.write(reply(503 if len(peer.requests) == 1 else 200))


def sent(**options: Any) -> tuple[Reply, Peer]:
    async def main() -> tuple[Reply, Peer]:
        async with (
            listening(takes_all) as peer,
            ServiceClient("stock", url=peer.url, policy=policy(), clock=LOOP_TIME) as client,
        ):
            return await client.post("/", idempotency_key="k", **options), peer

    return run_patiently(main())


async def pieces() -> AsyncIterator[bytes]:
    yield b"a" * 10
    yield b"b" * 10


class Pieces:
    """Can be gone through as often as one likes."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return pieces()


def test_pieces_are_sent_as_they_come() -> None:
    """What can be gone through again may be repeated; an iterator is used up, so its call is made once, key or no key."""
    again, peer = sent(content=Pieces())
    assert (again.status, [request.body for request in peer.requests]) == (200, [b"a" * 10 + b"b" * 10] * 2)
    once, peer = sent(content=pieces())
    assert (once.status, len(peer.requests)) == (503, 1)


def test_pieces_that_fail_are_a_call_that_failed() -> None:
    """The request breaks off, the cause can be found, and nothing of it tells against the service."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise failure

    for failure in (KeyError("lost"), OSError("no such file")):
        with pytest.raises(CallError, match="could not be made") as caught:
            sent(content=failing())
        assert caught.value.__cause__ is failure
        assert not is_failure(caught.value)


def test_a_form_is_encoded() -> None:
    """`data` alone is an ordinary form."""
    _, peer = sent(data={"name": "Ä b", "n": 1})
    assert peer.requests[0].body == b"name=%C3%84+b&n=1"
    assert peer.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


def test_files_are_sent_again_from_where_they_stood() -> None:
    """Fields and files arrive whole with names and types, and a second attempt sends the same."""
    file = io.BytesIO(b"skipped" + b"x" * 100_000)
    file.seek(7)
    files = {"deed": ('a"b.txt', file, "text/plain"), "note": b"short"}
    answered, peer = sent(data={"sku": "A1"}, files=files)
    assert answered.status == 200
    for request in peer.requests:
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        assert parts["sku"].get_payload(decode=True) == b"A1"
        assert parts["deed"].get_payload(decode=True) == b"x" * 100_000
        assert parts["deed"].get_content_type() == "text/plain"
        assert parts["note"].get_payload(decode=True) == b"short"
        assert b'filename="a%22b.txt"' in request.body


def test_a_large_body_goes_out_whole() -> None:
    """A body of several megabytes is sent in pieces, with a length."""

    async def main() -> None:
        async def taking(peer: Peer, reader: Reader, writer: Writer) -> None:
            await receive(peer, reader)
            writer.write(reply())

        async with listening(taking) as peer:
            async with ServiceClient("stock", url=peer.url, policy=policy(), clock=LOOP_TIME) as client:
                assert (await client.put("/", content=bytes(3 * 2**20))).status == 200
            assert len(peer.requests[0].body) == 3 * 2**20

    run_patiently(main())


@pytest.mark.parametrize(
    "options", [{"json": 1, "content": b""}, {"content": "x", "data": {}}, {"json": 1, "files": {}}]
)
def test_one_body_at_a_time(options: dict[str, Any]) -> None:
    """Two bodies are a mistake, found before anything is sent."""
    with pytest.raises(ValueError, match="one of"):
        sent(**options)
