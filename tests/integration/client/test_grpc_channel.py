"""Calls over gRPC within a policy, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_peers import OWN, Peer, echo, fails, hang, in_turn, many, one, serving, talk, upload

from skerry import context
from skerry.client.grpc import HTTP_STATUS, MAX_MESSAGE, grpc_channel
from skerry.client.grpc.channel import MAX_METADATA
from skerry.client.policy import is_failure
from skerry.clock import SYSTEM
from skerry.context import CallContext
from skerry.errors import (
    AttemptTimeout,
    CallError,
    CircuitOpen,
    ConfigurationError,
    ConnectionLost,
    DeadlineExceeded,
    ReplyTooLarge,
    StatusError,
    Unreachable,
)
from skerry.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, Policy, Retry, deadline
from skerry.resilience._congestion import START

KINDS = ["one", "list", "add", "talk"]
BOUND = 60.0


def policy(**parts: Any) -> Policy:
    return Policy("peer", **{"total": OWN, **parts})


async def ask(channel: grpc.aio.Channel, kind: str, request: bytes = b"x", **options: Any) -> bytes:
    """One call of that kind, and its last answer."""
    if kind == "one":
        return await one(channel)(request, **options)
    if kind == "list":
        return [each async for each in many(channel)(request, **options)][-1]
    if kind == "add":
        return await upload(channel)(iter([request]), **options)
    return [each async for each in talk(channel)(iter([request]), **options)][-1]


def play(behaviour: Any, act: Callable[[grpc.aio.Channel, Peer], Any], **options: Any) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(BOUND),
            serving(behaviour) as peer,
            grpc_channel("peer", url=peer.url, **{"policy": policy(), **options}) as channel,
        ):
            await act(channel, peer)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_call_carries_what_travels(kind: str) -> None:
    """The time left, the trace in a span of its own and the priority go along; own metadata stays."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        around = CallContext(deadline=SYSTEM.monotonic() + 5.0, priority=8).child()
        with context.use(around):
            forged = (("skerry-priority", "0"), ("x-own", "mine"))
            assert await ask(channel, kind, b"hello", metadata=forged) == b"hello"
        there = peer.metadata[0]
        assert (there["skerry-priority"], there["x-own"]) == ("8", "mine")
        assert there["traceparent"][:35] == around.traceparent[:35]
        assert there["traceparent"] != around.traceparent
        assert 0 < float(there["skerry-timeout"]) <= 5.0
        assert peer.remaining[0] is not None
        assert 0 < peer.remaining[0] <= 5.1

    play(echo, act)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_ends_a_call_that_hangs(kind: str) -> None:
    """However the service behaves, the call ends at the earliest limit, as the caller's own, and the service learns of it."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(DeadlineExceeded) as over, deadline(0.3):
            await ask(channel, kind)
        assert over.value.imposed
        await peer.cancelled.wait()

    play(hang, act)


def test_the_attempt_limit_ends_one_attempt() -> None:
    """The policy's own limits are told apart from the caller's: they count against the service."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(AttemptTimeout):
            await one(channel)(b"x")
        await peer.cancelled.wait()

    play(hang, act, policy=policy(attempt=0.3))


def test_a_time_out_of_the_call_is_one_more_limit() -> None:
    """`timeout=` shortens the policy's total."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(DeadlineExceeded):
            await one(channel)(b"x", timeout=0.3)

    play(hang, act)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_call_is_cancelled_there(kind: str) -> None:
    """Cancelling the caller cancels the handler, and stays a cancellation."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        asking = asyncio.create_task(ask(channel, kind))
        while not peer.metadata:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await peer.cancelled.wait()

    play(hang, act)


def test_only_what_is_safe_is_repeated() -> None:
    """After a failure that says nothing a call is repeated when its method is declared safe, or when it has a key."""
    broken = fails(grpc.StatusCode.UNAVAILABLE, "gone")

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(ConnectionLost) as lost:
            await one(channel)(b"x")
        assert isinstance(lost.value.__cause__, grpc.aio.AioRpcError)
        assert len(peer.metadata) == 1
        with pytest.raises(ConnectionLost):
            await one(channel, "Look")(b"x")
        assert len(peer.metadata) == 4
        with pytest.raises(ConnectionLost):
            await one(channel)(b"x", metadata=(("idempotency-key", "k"),))
        assert len(peer.metadata) == 7
        assert [each.get("skerry-retried") for each in peer.metadata] == [None] + 6 * ["1"]

    play(broken, act, policy=policy(retry=Retry(3, base=0.01)), safe=["/peer.Peer/Look"])


@pytest.mark.parametrize("kind", ["list", "add", "talk"])
def test_streams_are_not_repeated(kind: str) -> None:
    """A stream that was sent is never sent again, whatever the policy says."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(ConnectionLost):
            await ask(channel, kind, metadata=(("idempotency-key", "k"),))
        assert len(peer.metadata) == 1

    play(fails(grpc.StatusCode.UNAVAILABLE), act, policy=policy(retry=Retry(3, base=0.01)))


def test_an_inner_layer_does_not_repeat_what_an_outer_one_repeats() -> None:
    """Under the mark one attempt is made, and the mark goes on."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with context.use(CallContext(retries_above=True)), pytest.raises(ConnectionLost):
            await one(channel, "Look")(b"x")
        assert [each["skerry-retried"] for each in peer.metadata] == ["1"]

    play(fails(grpc.StatusCode.UNAVAILABLE), act, policy=policy(retry=Retry(3, base=0.01)), safe=["/peer.Peer/Look"])


def test_a_service_that_says_when_to_ask_again_is_asked_again_then() -> None:
    """The pushback is the time to wait; without it RESOURCE_EXHAUSTED is an answer."""
    busy = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc_retry_pushback_ms="10")

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        assert await one(channel, "Look")(b"x") == b"x"
        assert len(peer.metadata) == 3

    play(in_turn(busy, busy, echo), act, policy=policy(retry=Retry(3, base=0.01)), safe=["/peer.Peer/Look"])


@pytest.mark.parametrize("pushback", ["-1", "soon", "9" * 20])
def test_a_service_that_wants_no_retry_gets_none(pushback: str) -> None:
    """A pushback that is no time to wait ends it, whatever the method (gRFC A6)."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(StatusError) as refused:
            await one(channel, "Look")(b"x")
        assert (refused.value.status, refused.value.retry_after) == (503, None)
        assert len(peer.metadata) == 1

    never = fails(grpc.StatusCode.UNAVAILABLE, grpc_retry_pushback_ms=pushback)
    play(never, act, policy=policy(retry=Retry(3, base=0.01)), safe=["/peer.Peer/Look"])


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_is_an_error_of_ours(code: grpc.StatusCode) -> None:
    """What tells of an ill service counts as a failure; an answer does not. gRPC's own error is the cause."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises((StatusError, ConnectionLost, AttemptTimeout)) as failed:
            await one(channel)(b"x")
        error = failed.value
        assert isinstance(error.__cause__, grpc.aio.AioRpcError)
        assert error.__cause__.code() is code
        ill = {"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
        assert is_failure(error) == (code.name in ill)
        if isinstance(error, StatusError):
            assert (error.status, error.code, error.detail) == (HTTP_STATUS[code], "own_word", "why")

    play(fails(code, "why", skerry_code="own_word"), act)


def test_an_open_circuit_refuses_here() -> None:
    """Failures open the breaker, and then nothing is sent; answers that say no do not open it."""
    ill, answer = fails(grpc.StatusCode.INTERNAL), fails(grpc.StatusCode.NOT_FOUND)

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        for _ in range(8):
            with pytest.raises(StatusError):
                await one(channel)(b"x")
        with pytest.raises(CircuitOpen):
            await one(channel)(b"x")
        assert len(peer.metadata) == 8

    breaker = CircuitBreaker(0.5, min_calls=4, window_calls=8, on=is_failure)
    play(in_turn(answer, answer, answer, answer, ill), act, policy=policy(breaker=breaker))


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_holds_for_every_kind(kind: str) -> None:
    """With one answer until it is there; of a stream until its first answer."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        first = asyncio.create_task(ask(channel, kind))
        while not peer.metadata:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(ask(channel, kind))
        while not limit.waiting and len(peer.metadata) < 2:
            await asyncio.sleep(0.01)
        assert (len(peer.metadata), limit.waiting) == ((2, 0) if kind == "list" else (1, 1))
        for each in (first, second):
            each.cancel()
        await asyncio.wait({first, second})

    limit = Bulkhead(1, queue=1)
    play(hang, act, policy=policy(limit=limit))


def test_a_service_that_is_not_there_saw_nothing() -> None:
    """Without a connection nothing is sent, so any call is repeated; many that wait get an error each of their own."""

    async def main() -> None:
        async with serving() as peer:
            url = peer.url
        attempts = policy(retry=Retry(3, base=0.01))
        async with grpc_channel("peer", url=url, policy=attempts) as channel:
            errors = await asyncio.gather(*(one(channel)(b"x") for _ in range(5)), return_exceptions=True)
            assert [type(each) for each in errors] == 5 * [Unreachable]
            assert len({id(each) for each in errors}) == 5
            assert "gave up after attempt 3 of 3" in errors[0].__notes__[0]

    asyncio.run(main())


def test_an_answer_that_is_too_large_is_not_taken() -> None:
    """Neither is its metadata, and a message to be sent. None of that is an overload of the service, which lost no place."""
    limit = AdaptiveLimit(min=1, max=50)

    async def large(_request: bytes, call: Any) -> bytes:
        call.set_trailing_metadata((("x-large", "x" * 2 * MAX_METADATA),) if len(asked.metadata) > 1 else ())
        return bytes(MAX_MESSAGE + 1)

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        asked.metadata = peer.metadata
        for _ in range(2):
            with pytest.raises(ReplyTooLarge):
                await one(channel)(b"x")
        with pytest.raises(CallError, match="larger than is sent") as refused:
            await one(channel)(bytes(MAX_MESSAGE + 1))
        assert type(refused.value) is CallError
        assert len(peer.metadata) == 2
        assert limit.limit >= START

    asked = Peer()
    play(large, act, policy=policy(limit=limit))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [("A B", "x"), ("x-own", "two\nlines")])
def test_metadata_that_are_none_are_not_sent(kind: str, pair: tuple[str, str]) -> None:
    """As a header that is not valid HTTP; what is binary may be anything. It counts for nothing, as all that is refused here."""
    breaker = CircuitBreaker()

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        with pytest.raises(CallError, match="nothing was sent"):
            await ask(channel, kind, metadata=(pair,))
        assert (breaker.measured.calls, peer.metadata) == (0, [])
        await ask(channel, kind, metadata=(("x-own-bin", b"two\nlines"),))
        assert peer.metadata[0]["x-own-bin"] == b"two\nlines"

    play(echo, act, policy=policy(breaker=breaker))


def test_a_call_of_which_an_attempt_may_have_arrived_is_lost() -> None:
    """The service died with the call in its hands, and was not there for the next attempt: that one was never sent."""

    async def dies(_request: bytes, _call: Any) -> bytes:
        stopping.append(asyncio.ensure_future(there[0].server.stop(0)))
        return await hang(b"", _call)

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        there.append(peer)
        with pytest.raises(ConnectionLost, match="earlier attempt") as caught:
            await one(channel)(b"x")
        assert isinstance(caught.value.__cause__, Unreachable)
        await asyncio.wait(stopping)

    there: list[Peer] = []
    stopping: list[asyncio.Future[None]] = []
    play(dies, act, policy=policy(retry=Retry(2, base=0.01)), safe=["/peer.Peer/Do"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_from_outside_cannot_make_calls_fail(kind: str) -> None:
    """Whatever it says of its trace: gRPC takes nothing that is not ASCII."""
    around = context.extract({"traceparent": CallContext().child().traceparent, "tracestate": "vendor=\xe9"})

    async def act(channel: grpc.aio.Channel, _peer: Peer) -> None:
        with context.use(around):
            assert await ask(channel, kind, b"hello") == b"hello"

    play(echo, act)


@pytest.mark.parametrize("kind", ["add", "talk", "later"])
def test_what_the_caller_fails_of_while_it_makes_requests_is_raised(kind: str) -> None:
    """Not a cancellation, which gRPC makes of it, and of which a group of tasks says nothing."""

    async def requests() -> AsyncIterator[bytes]:
        yield b"x"
        await answered.wait()
        raise KeyError("lost")

    async def act(channel: grpc.aio.Channel, _peer: Peer) -> None:
        if kind != "later":
            answered.set()
        if kind == "add":
            await upload(channel)(requests())
        async for each in talk(channel)(requests()):
            assert each == b"x"
            answered.set()

    answered = asyncio.Event()
    with pytest.raises(KeyError, match="lost"):
        play(echo, act)


def test_a_caller_that_is_cancelled_meanwhile_stays_so() -> None:
    """However its requests end."""

    async def requests() -> AsyncIterator[bytes]:
        yield b"x"
        asking.cancel()
        raise KeyError("lost")

    async def call(channel: grpc.aio.Channel) -> None:
        await upload(channel)(requests())

    async def act(channel: grpc.aio.Channel, _peer: Peer) -> None:
        nonlocal asking
        asking = asyncio.create_task(call(channel))
        await asyncio.wait([asking])
        assert asking.cancelled()

    asking: asyncio.Task[None]
    play(echo, act)


def test_streams_work_in_both_styles() -> None:
    """Requests may be written one by one, and answers read one by one, with the policy around them."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        talking = talk(channel)()
        for word in (b"one", b"two"):
            await talking.write(word)
            assert await talking.read() == word
        await talking.done_writing()
        assert await talking.read() is grpc.aio.EOF
        adding = upload(channel)()
        await adding.write(b"one")
        await adding.write(b"two")
        await adding.done_writing()
        assert await adding == b"onetwo"
        assert await many(channel)(b"x").read() == b"first"

    play(echo, act)


def test_a_stream_that_ends_badly_says_how_after_its_first_answer() -> None:
    """Errors in the middle of a stream are skerry's too."""

    async def act(channel: grpc.aio.Channel, peer: Peer) -> None:
        listing = many(channel)(b"x")
        assert await listing.read() == b"first"
        with pytest.raises(StatusError, match="all gone"):
            await listing.read()

    play(fails(grpc.StatusCode.NOT_FOUND, "all gone"), act)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "http://host:1/path"}, "path"),
        ({"url": "ftp://host"}, "must look like"),
        ({"url": "http://host:1", "safe": ["Look"]}, "no method"),
        ({"url": "http://host:1", "tls": grpc.ssl_channel_credentials()}, "not https"),
        ({}, "SKERRY_URL_PEER"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(options: dict[str, Any], match: str) -> None:
    """An address, a method or a trust that makes no sense is an error where the channel is made."""

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=match):
            grpc_channel("peer", **options)

    asyncio.run(main())


def test_certificates_are_verified() -> None:
    """Over https a service answers to who trusts its authority; to who does not it was never asked."""

    async def main() -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
        tls = grpc.ssl_server_credentials([pair])
        trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with serving(tls=tls) as peer:
            async with grpc_channel("peer", url=peer.url, policy=policy(), tls=trusting) as channel:
                assert await one(channel)(b"x") == b"x"
            async with grpc_channel("peer", url=peer.url, policy=policy()) as channel:
                with pytest.raises(Unreachable):
                    await one(channel)(b"x")
            assert len(peer.metadata) == 1

    asyncio.run(main())


def test_the_address_for_grpc_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that answers HTTP on one port and gRPC on another has a variable for each."""

    async def main() -> None:
        async with serving() as peer:
            monkeypatch.setenv("SKERRY_URL_PEER", "http://127.0.0.1:1")
            monkeypatch.setenv("SKERRY_URL_PEER_GRPC", peer.url)
            async with grpc_channel("peer", policy=policy()) as channel:
                assert await one(channel)(b"x") == b"x"

    asyncio.run(main())
