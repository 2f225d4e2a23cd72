"""Calls over gRPC where somebody else stands around channels and servers too, as OpenTelemetry's instrumentations do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_peers import echo, many, one, serving, talk
from opentelemetry.sdk.trace import TracerProvider

from skerry.client.grpc import grpc_channel
from skerry.resilience import Policy
from skerry.service import Service
from skerry.settings import Settings
from skerry.telemetry import use_opentelemetry

BOUND = 60.0


class Around(grpc.aio.ServerInterceptor):
    """Stands around a server, and takes it, as they do, that a method with a stream of answers is a generator."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or not handler.response_streaming:
            return handler
        behaviour = handler.unary_stream or handler.stream_stream
        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )

        async def stream(request: Any, call: Any) -> AsyncIterator[Any]:
            async for answer in behaviour(request, call):
                yield answer
            self.seen.append(details.method)

        return make(stream, handler.request_deserializer, handler.response_serializer)


def test_streams_that_a_service_answers_can_have_others_around_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In both styles: a handler that yields, and one that writes."""
    around, made = Around(), grpc.aio.server

    def server(*args: Any, **options: Any) -> Any:
        return made(*args, **{**options, "interceptors": [around, *options.get("interceptors", ())]})

    async def listing(_request: bytes, _call: Any) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def talking(requests: AsyncIterator[bytes], call: Any) -> None:
        async for each in requests:
            await call.write(each)

    async def main() -> None:
        service = Service("stock", settings=Settings(data=tmp_path, host="127.0.0.1", grpc_port=0))
        methods = {
            "List": grpc.unary_stream_rpc_method_handler(listing),
            "Talk": grpc.stream_stream_rpc_method_handler(talking),
        }
        service.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("peer.Peer", methods)])
        await service.start()
        url = f"http://127.0.0.1:{service.grpc.port}"
        try:
            async with (
                asyncio.timeout(BOUND),
                grpc_channel("stock", url=url, policy=Policy("stock", total=BOUND)) as to,
            ):
                assert [each async for each in many(to)(b"x")] == [b"one", b"two"]
                assert [each async for each in talk(to)(iter([b"a", b"b"]))] == [b"a", b"b"]
        finally:
            await service.stop()
        assert len(around.seen) == 2

    monkeypatch.setattr(grpc.aio, "server", server)
    asyncio.run(main())


@pytest.mark.parametrize("told", [True, False])
def test_where_we_tell_of_calls_nobody_else_stands_around_our_channels(
    told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One span for a call. Where we tell of none others may, once for each call, and not again behind several instances."""
    channels: list[str] = []
    made = grpc.aio.insecure_channel

    def replaced(target: str, *args: Any, **options: Any) -> Any:
        channels.append(target)
        return made(target, *args, **options)

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as second:
            several = f"{first.url},{second.url.removeprefix('http://')}"
            for url in (first.url, several):
                async with grpc_channel("peer", url=url, policy=Policy("peer", total=BOUND)) as channel:
                    for _ in range(5):
                        assert await one(channel)(b"x") == b"x"

    monkeypatch.setattr(grpc.aio, "insecure_channel", replaced)
    end = use_opentelemetry(tracer_provider=TracerProvider()) if told else lambda: None
    try:
        asyncio.run(main())
    finally:
        end()
    assert len(channels) == (0 if told else 2)
