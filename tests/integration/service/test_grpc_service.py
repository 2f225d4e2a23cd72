"""A service that answers over gRPC: what it takes, what it refuses, and what it says of its health."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served import free_port, running

from skerry import context, signals
from skerry.client.grpc import grpc_channel
from skerry.client.grpc.channel import MAX_MESSAGE
from skerry.errors import (
    AttemptTimeout,
    ConfigurationError,
    ConnectionLost,
    DeadlineExceeded,
    LateAction,
    Locked,
    ReceiptConflict,
    Rejected,
    StatusError,
    StoreBusy,
    Unreachable,
)
from skerry.resilience import AdaptiveLimit, Policy, Retry, deadline
from skerry.service import Problem, Service
from skerry.service.grpc.health import MAX_WATCHERS
from skerry.service.grpc.server import MAX_METADATA
from skerry.settings import Settings
from skerry.signals import RequestFailed, Signal

BOUND = 60.0
Behaviour = Callable[[bytes, Any], Awaitable[bytes]]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Script:
    """What the service does, and what it was told."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.contexts: list[context.CallContext] = []
        self.ended: list[BaseException] = []

    async def one(self, request: bytes, call: Any) -> bytes:
        self.contexts.append(context.current())
        try:
            return await self.behaviour(request, call)
        except BaseException as error:
            self.ended.append(error)
            raise

    async def many(self, request: bytes, call: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self.one(request, call)

    async def written(self, request: bytes, call: Any) -> None:
        await call.write(b"first")
        await call.write(await self.one(request, call))

    async def add(self, requests: AsyncIterator[bytes], call: Any) -> bytes:
        return await self.one(b"".join([each async for each in requests]), call)

    async def talk(self, requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        async for each in requests:
            yield await self.one(each, call)

    def held(self, request: bytes, call: Any) -> bytes:
        return request

    def add_to(self, server: Any) -> None:
        """As generated code does it."""
        methods = {
            "Do": grpc.unary_unary_rpc_method_handler(self.one),
            "Held": grpc.unary_unary_rpc_method_handler(self.held),
            "List": grpc.unary_stream_rpc_method_handler(self.many),
            "Write": grpc.unary_stream_rpc_method_handler(self.written),
            "Add": grpc.stream_unary_rpc_method_handler(self.add),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Stock", methods),))
        server.add_registered_method_handlers("shop.Stock", methods)


async def echo(request: bytes, _call: Any) -> bytes:
    return request


async def hang(_request: bytes, _call: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


def raises(error: Exception) -> Behaviour:
    async def act(_request: bytes, _call: Any) -> bytes:
        raise error

    return act


def play(
    tmp_path: Path,
    behaviour: Behaviour,
    act: Callable[[grpc.aio.Channel, Service, Script], Awaitable[None]],
    *,
    policy: Policy | None = None,
    **options: Any,
) -> None:
    async def main() -> None:
        script = Script(behaviour)
        service = Service("stock", settings=Settings(data=tmp_path, grpc_port=0, drain=5.0), **options)
        script.add_to(service.grpc)
        async with asyncio.timeout(BOUND):
            await service.start()
            try:
                url = f"http://127.0.0.1:{service.grpc.port}"
                plain = policy or Policy("stock", total=BOUND)
                async with grpc_channel("stock", url=url, policy=plain, safe=["/shop.Stock/Do"]) as channel:
                    await act(channel, service, script)
            finally:
                await service.stop()

    asyncio.run(main())


def do(channel: grpc.aio.Channel, name: str = "Do") -> Any:
    return channel.unary_unary(f"/shop.Stock/{name}")


def test_handlers_of_every_kind_and_style_answer(tmp_path: Path) -> None:
    """One answer or a stream, of one request or many, by a generator or by writing."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        assert await do(channel)(b"x") == b"x"
        for name in ("List", "Write"):
            assert [each async for each in channel.unary_stream(f"/shop.Stock/{name}")(b"x")] == [b"first", b"x"]
        assert await channel.stream_unary("/shop.Stock/Add")(iter([b"a", b"b"])) == b"ab"
        assert [each async for each in channel.stream_stream("/shop.Stock/Talk")(iter([b"a", b"b"]))] == [b"a", b"b"]

    play(tmp_path, echo, act)


def test_the_callers_context_is_the_handlers(tmp_path: Path) -> None:
    """Deadline, trace, priority and the retried mark; a caller without a time gets the service's own."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        around = context.CallContext(priority=2, retries_above=True).child()
        with context.use(around), deadline(20.0):
            await do(channel)(b"x")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc.port}") as stranger:
            await do(stranger)(b"x")
            await do(stranger)(b"x", timeout=9.0)
        here, without, own = script.contexts
        assert (here.trace_id, here.priority, here.retries_above) == (around.trace_id, 2, True)
        for seen, limit in ((here, 20.0), (without, 30.0), (own, 9.0)):
            left = seen.remaining()
            assert left is not None
            assert 0 < left < limit + 1.0  # gRPC rounds its own up a little

    play(tmp_path, echo, act)


def test_the_retried_mark_crosses_two_hops(tmp_path: Path) -> None:
    """What the first caller repeats no service behind it does: three attempts there, and three in all behind."""

    async def main() -> None:
        behind = Service("behind", settings=Settings(data=tmp_path, grpc_port=0))
        broken = Script(raises(StoreBusy("no")))
        broken.add_to(behind.grpc)
        await behind.start()
        url = f"http://127.0.0.1:{behind.grpc.port}"
        retrying = Policy("behind", total=BOUND, retry=Retry(3, base=0.01, retry_after_cap=0.01))
        async with grpc_channel("behind", url=url, policy=retrying, safe=["/shop.Stock/Do"]) as inner:

            async def forward(request: bytes, _call: Any) -> bytes:
                return await do(inner)(request)

            async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
                with pytest.raises((StatusError, ConnectionError)):
                    await do(channel)(b"x")
                assert (len(script.contexts), len(broken.contexts)) == (3, 3)
                assert all(each.retries_above for each in broken.contexts)

            front = Service("front", settings=Settings(data=tmp_path, grpc_port=0))
            script = Script(forward)
            script.add_to(front.grpc)
            await front.start()
            policy = Policy("front", total=BOUND, retry=Retry(3, base=0.01, retry_after_cap=0.01))
            outer_url = f"http://127.0.0.1:{front.grpc.port}"
            async with grpc_channel("front", url=outer_url, policy=policy, safe=["/shop.Stock/Do"]) as channel:
                await act(channel, front, script)
            await front.stop()
        await behind.stop()

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_a_call_whose_time_is_over_is_not_begun(tmp_path: Path) -> None:
    """A deadline that has passed on the way is answered DEADLINE_EXCEEDED; the handler sees nothing of the call."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc.port}") as stranger:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await do(stranger)(b"x", metadata=(("skerry-timeout", "0.000"),))
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "nothing was done" in str(refused.value.details())
        assert not script.contexts

    play(tmp_path, echo, act)


def test_a_handler_is_bounded_by_the_deadline(tmp_path: Path) -> None:
    """When time is over the handler is cancelled, and a caller who waits longer is told so."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc.port}") as stranger:
            with pytest.raises(grpc.aio.AioRpcError) as over:
                await do(stranger)(b"x", metadata=(("skerry-timeout", "0.2"),))
        assert over.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert [type(each) for each in script.ended] == [asyncio.CancelledError]
        with pytest.raises(AttemptTimeout, match="no answer in the time it had"):
            await do(channel)(b"x")

    play(tmp_path, hang, act, timeout=0.2, policy=Policy("stock", total=None))


def test_a_caller_that_goes_away_cancels_the_handler(tmp_path: Path) -> None:
    """Its deadline, or its cancellation, ends the work here."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        with pytest.raises(DeadlineExceeded), deadline(0.2):
            await do(channel)(b"x")
        while not script.ended:
            await asyncio.sleep(0.01)
        assert isinstance(script.ended[0], asyncio.CancelledError)

    play(tmp_path, hang, act)


@pytest.mark.parametrize(
    ("error", "code", "status", "word"),
    [
        (Rejected("sold out"), grpc.StatusCode.FAILED_PRECONDITION, 400, "rejected"),
        (Locked("sku"), grpc.StatusCode.ABORTED, 409, "locked"),
        (LateAction("late"), grpc.StatusCode.ABORTED, 409, "late_action"),
        (ReceiptConflict("other"), grpc.StatusCode.ALREADY_EXISTS, 409, "key_reused"),
        (StoreBusy("busy"), grpc.StatusCode.UNAVAILABLE, 503, "busy"),
        (Problem(404, "no_such_sku", "There is no such item."), grpc.StatusCode.NOT_FOUND, 404, "no_such_sku"),
        (Problem(422, "bad", "No."), grpc.StatusCode.INVALID_ARGUMENT, 400, "bad"),
        (ValueError("secret"), grpc.StatusCode.INTERNAL, 500, "internal_error"),
    ],
)
def test_errors_of_ours_are_statuses(
    tmp_path: Path, error: Exception, code: grpc.StatusCode, status: int, word: str
) -> None:
    """A caller gets the code, the word and the sentence, as over HTTP."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        with pytest.raises(StatusError) as told:
            await do(channel)(b"x")
        assert isinstance(told.value.__cause__, grpc.aio.AioRpcError)
        assert told.value.__cause__.code() is code
        assert (told.value.status, told.value.code) == (status, word)

    play(tmp_path, raises(error), act)


def test_an_unexpected_error_is_in_the_log_and_nowhere_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line and one signal; the caller learns nothing of its text."""
    seen: list[Signal] = []

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        with pytest.raises(StatusError) as told:
            await do(channel)(b"x")
        assert "secret" not in str(told.value.__cause__)

    unsubscribe = signals.subscribe(seen.append)
    with caplog.at_level(logging.ERROR):
        play(tmp_path, raises(ValueError("secret")), act)
    unsubscribe()
    assert [each.message for each in caplog.records] == ["an unexpected error in gRPC /shop.Stock/Do"]
    failures = [each for each in seen if isinstance(each, RequestFailed)]
    assert failures == [RequestFailed(service="stock", method="gRPC", route="/shop.Stock/Do", error="ValueError")]


def test_what_a_handler_says_itself_passes(tmp_path: Path) -> None:
    """`abort` of gRPC is the handler's own answer; a handler that is not async is refused."""

    async def no(_request: bytes, call: Any) -> bytes:
        await call.abort(grpc.StatusCode.OUT_OF_RANGE, "too far")
        return b""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        with pytest.raises(StatusError, match="too far"):
            await do(channel)(b"x")
        with pytest.raises(StatusError) as refused:
            await do(channel, "Held")(b"x")
        assert refused.value.status == 500
        with pytest.raises(StatusError) as unknown:
            await do(channel, "Nothing")(b"x")
        assert unknown.value.status == 501

    play(tmp_path, no, act)


def test_a_service_with_too_much_to_do_says_when_to_ask_again(tmp_path: Path) -> None:
    """Calls over its limit are UNAVAILABLE with a time to wait, and health answers all the same."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        first = asyncio.create_task(do(channel)(b"x").code())
        while not script.contexts:
            await asyncio.sleep(0.01)
        with pytest.raises(StatusError) as shed:
            await do(channel)(b"x")
        assert (shed.value.status, shed.value.code, shed.value.retry_after) == (503, "overloaded", 1.0)
        assert len(script.contexts) == 1
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
        first.cancel()
        await asyncio.wait({first})

    play(tmp_path, hang, act, limit=AdaptiveLimit(min=1, max=1, queue=0))


def test_a_message_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED, before the handler."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        wide = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc.port}", options=wide) as stranger:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await do(stranger)(bytes(MAX_MESSAGE + 1))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not script.contexts

    play(tmp_path, echo, act)


def test_metadata_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    """Forty thousand bytes of it pass; over the limit the handler sees nothing."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        assert await do(channel)(b"x", metadata=(("x-own", "a" * 40_000),)) == b"x"
        with pytest.raises(StatusError) as refused:
            await do(channel)(b"x", metadata=(("x-own", "a" * (MAX_METADATA + 1)),))
        assert refused.value.status == 429
        assert len(script.contexts) == 1

    play(tmp_path, echo, act)


def test_health_is_the_services_readiness(tmp_path: Path) -> None:
    """Check and Watch, asked by the published client: by name or without, through a failing check, to the end."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        well = True

        async def check() -> None:
            if not well:
                raise OSError("no")

        service.health.add("disk", check)
        stub = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest(service="shop.Stock"))
        assert (await watching.read()).status == SERVING
        assert (await stub.Check(health_pb2.HealthCheckRequest(service="shop.Stock"))).status == SERVING
        well = False
        assert (await watching.read()).status == NOT_SERVING
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        well = True
        assert (await watching.read()).status == SERVING
        with pytest.raises(StatusError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="shop.Other"))
        assert unknown.value.status == 404
        elsewhere = stub.Watch(health_pb2.HealthCheckRequest(service="shop.Other"))
        assert (await elsewhere.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        stopping = asyncio.create_task(service.stop())
        assert (await watching.read()).status == NOT_SERVING
        assert await watching.read() is grpc.aio.EOF
        await stopping

    play(tmp_path, echo, act)


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\x0a\x01\xff", b"\xff" * 11, b"\x0b", b"\x09\x01"])
def test_a_malformed_question_about_health_is_answered(tmp_path: Path, message: bytes) -> None:
    """INVALID_ARGUMENT, whatever the bytes."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        with pytest.raises(StatusError) as refused:
            await channel.unary_unary("/grpc.health.v1.Health/Check")(message)
        assert refused.value.status == 400

    play(tmp_path, echo, act)


def test_a_stop_lets_calls_end_and_takes_no_more(tmp_path: Path) -> None:
    """What is under way is answered; then nobody listens."""
    go_on = asyncio.Event()

    async def slow(request: bytes, _call: Any) -> bytes:
        await go_on.wait()
        return request

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        async def ask() -> bytes:
            return await do(channel)(b"x")

        asking = asyncio.create_task(ask())
        while not script.contexts:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(service.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        go_on.set()
        assert await asking == b"x"
        await stopping
        with pytest.raises(Unreachable):
            await do(channel)(b"x")

    play(tmp_path, slow, act)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    """When the drain time is over what is still under way is cancelled, and its caller knows nothing of the outcome."""

    async def main() -> None:
        script = Script(hang)
        service = Service("stock", settings=Settings(data=tmp_path, grpc_port=0, drain=0.2))
        script.add_to(service.grpc)
        await service.start()
        url = f"http://127.0.0.1:{service.grpc.port}"
        async with grpc_channel("stock", url=url, policy=Policy("stock", total=BOUND)) as channel:

            async def ask() -> bytes:
                return await do(channel)(b"x")

            asking = asyncio.create_task(ask())
            while not script.contexts:
                await asyncio.sleep(0.01)
            await service.stop()
            with pytest.raises(ConnectionLost):
                await asking
        assert [type(each) for each in script.ended] == [asyncio.CancelledError]

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_a_port_that_cannot_be_had_and_late_servicers_are_refused(tmp_path: Path) -> None:
    """The error names the variable; a service that has started takes no more servicers."""

    async def main() -> None:
        away = Service("stock", settings=Settings(data=tmp_path, host="192.0.2.1", grpc_port=1))
        Script(echo).add_to(away.grpc)
        with pytest.raises(ConfigurationError, match="SKERRY_GRPC_PORT"):
            await away.start()
        here = Service("stock", settings=Settings(data=tmp_path, grpc_port=0))
        assert here.grpc.port == 0
        await here.start()
        with pytest.raises(ConfigurationError, match="has started"):
            Script(echo).add_to(here.grpc)
        await here.stop()
        without = Service("stock", settings=Settings(data=tmp_path))
        await without.start()
        with pytest.raises(ConfigurationError, match="without gRPC"):
            without.grpc  # noqa: B018
        await without.stop()

    asyncio.run(main())


def test_a_channel_of_a_service_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made in a start hook, it leads to the address from the environment, and is closed when its service stops."""
    channels: list[grpc.aio.Channel] = []

    async def act(_channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        monkeypatch.setenv("SKERRY_URL_STOCK_GRPC", f"http://127.0.0.1:{service.grpc.port}")
        order = Service("order", settings=Settings(data=tmp_path))

        @order.on_start
        async def connect() -> None:
            channels.append(order.channel("stock", policy=Policy("stock", total=BOUND)))

        await order.start()
        assert await do(channels[0])(b"x") == b"x"
        await order.stop()
        assert channels[0].get_state() is grpc.ChannelConnectivity.SHUTDOWN

    play(tmp_path, echo, act)


def test_watchers_have_a_bound(tmp_path: Path) -> None:
    """One more than the most is refused."""

    async def act(channel: grpc.aio.Channel, service: Service, script: Script) -> None:
        stub = health_pb2_grpc.HealthStub(channel)
        watching = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(MAX_WATCHERS)]
        for each in watching:
            assert (await each.read()).status == SERVING
        with pytest.raises(StatusError) as refused:
            await stub.Watch(health_pb2.HealthCheckRequest()).read()
        assert refused.value.status == 429

    play(tmp_path, echo, act)


APP = """
import asyncio

import grpc

from skerry.service import Service

service = Service("tiny")


async def slow(request, call):
    (service.settings.data / "slow").touch()
    await asyncio.sleep(float(request))
    return request


methods = {"Slow": grpc.unary_unary_rpc_method_handler(slow)}
service.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Stock", methods)])
"""


def test_a_process_that_is_told_to_stop_finishes_its_calls(tmp_path: Path) -> None:
    """On SIGTERM health says so at once, a call under way is answered, and the process exits with 0."""

    async def main() -> None:
        port = free_port()
        async with (
            running(tmp_path, app=APP, SKERRY_GRPC_PORT=str(port)) as served,
            grpc_channel("tiny", url=f"http://127.0.0.1:{port}", policy=Policy("tiny", total=BOUND)) as channel,
        ):
            watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watching.read()).status == SERVING

            async def ask() -> bytes:
                return await channel.unary_unary("/shop.Stock/Slow")(b"1.5")

            asking = asyncio.create_task(ask())
            while not (tmp_path / "slow").exists():
                await asyncio.sleep(0.01)
            served.process.send_signal(signal.SIGTERM)
            assert (await watching.read()).status == NOT_SERVING
            assert await asking == b"1.5"
            assert await served.process.wait() == 0

    asyncio.run(asyncio.wait_for(main(), BOUND))
