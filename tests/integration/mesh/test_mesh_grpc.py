"""gRPC through two real sidecars: it passes in all forms, and refusals are its own statuses."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from mesh_stage import SHOP, free_port, sidecar

from skerry.envoy.mesh import Authority, Callee, Sidecar

CALLERS: list[str] = []


async def one(request: bytes, context: Any) -> bytes:
    told = dict(context.invocation_metadata())
    CALLERS.append(told["x-forwarded-client-cert"].rpartition("URI=")[2])
    context.set_trailing_metadata((("x-end", "yes"),))
    return request.upper()


async def many(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.upper()


def on_grpc(play: Callable[[grpc.aio.Channel], Awaitable[None]], *, caller: str = "shop", up: bool = True) -> None:
    """Run `play` with a channel to the bank through the sidecar of `caller`; only `shop` may call."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-test-")))
            authority, port, here = Authority(folder, system="tiny"), free_port(), free_port()
            bank = Sidecar(
                system="tiny",
                service="bank",
                port=port,
                socket=folder / "http",
                grpc=folder / "grpc",
                callers=("shop",),
            )
            told = replace(SHOP, service=caller, calls=(Callee(service="bank", listen=here, port=port),))
            if up:
                server = grpc.aio.server()
                handlers = {
                    "One": grpc.unary_unary_rpc_method_handler(one),
                    "Many": grpc.stream_stream_rpc_method_handler(many),
                }
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bank", handlers),))
                server.add_insecure_port(f"unix:{folder}/grpc")
                await server.start()
                stack.push_async_callback(server.stop, 0)
            await stack.enter_async_context(sidecar(authority, bank))
            await stack.enter_async_context(sidecar(authority, told))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{here}"))
            await play(channel)

    asyncio.run(main())


def test_calls_and_streams_pass() -> None:
    """Metadata at both ends, messages one by one while the stream goes on, and who called."""

    async def play(channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary("/Bank/One")(b"hello")
        assert await call == b"HELLO"
        assert dict(await call.trailing_metadata())["x-end"] == "yes"
        assert CALLERS[-1] == "spiffe://tiny/shop"
        stream = channel.stream_stream("/Bank/Many")()
        for text in (b"a", b"b", b"c"):
            await stream.write(text)
            assert await stream.read() == text.upper()
        await stream.done_writing()
        assert await stream.code() == grpc.StatusCode.OK

    on_grpc(play)


def test_a_caller_that_may_not_is_told_by_grpcs_own_status() -> None:
    """PERMISSION_DENIED, and the service sees nothing of it."""
    before = len(CALLERS)

    async def play(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/Bank/One")(b"hello")
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    on_grpc(play, caller="other")
    assert len(CALLERS) == before


def test_a_service_that_is_down_is_unavailable() -> None:
    """UNAVAILABLE, which clients know to repeat."""

    async def play(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/Bank/One")(b"hello")
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE

    on_grpc(play, up=False)
