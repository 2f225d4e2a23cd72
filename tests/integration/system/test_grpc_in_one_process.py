"""Calls over gRPC between services in one process: the policy around them, the border before them, and their limits."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from skerry import Service
from skerry.errors import ConfigurationError, ConnectionLost, DeadlineExceeded, StatusError, Unreachable
from skerry.resilience import Policy
from skerry.service import Problem

KEY = [("idempotency-key", "k")]


def make_stock():
    service = Service("stock", database="sqlite:///stock.db")
    asked: list[bytes] = []

    async def look(request, call):
        asked.append(request)
        if request == b"problem":
            raise Problem(404, "unknown_sku", "There is no such product.")
        if request == b"code":
            call.set_code(grpc.StatusCode.ABORTED)
            call.set_details("not now")
        if request == b"slow":
            await asyncio.sleep(60.0)
        return b"%d %s" % (len(asked), request)

    methods = {"Look": grpc.unary_unary_rpc_method_handler(look)}
    service.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Stock", methods)])
    return service


def make_shop():
    service = Service("shop", database="sqlite:///shop.db")

    @service.on_start
    async def connect():
        service.stock = service.channel("stock", policy=Policy("stock", total=2.0))

    return service


async def ask(system, request, method="Look", **options):
    async def act(service):
        call = service.stock.unary_unary(f"/shop.Stock/{method}")
        return await call(request, **options)

    return await system.inside("shop", act)


async def test_answers_and_refusals_come_as_over_a_wire(skerry_system):
    """An answer is an answer; a problem, a code that was set and a method that is not there are errors of skerry's."""
    async with skerry_system([make_stock, make_shop]) as system:
        assert await ask(system, b"lamp") == b"1 lamp"
        for request, method, status, code in (
            (b"problem", "Look", 404, "unknown_sku"),
            (b"code", "Look", 409, "aborted"),
            (b"x", "Buy", 501, "unimplemented"),
        ):
            with pytest.raises(StatusError) as raised:
                await ask(system, request, method)
            assert (raised.value.status, raised.value.code) == (status, code)


async def test_time_and_death_end_a_call(skerry_system, faults):
    """A call ends with its policy's time, is lost when the callee dies, and is refused when nobody is there."""
    async with skerry_system([make_stock, make_shop]) as system:
        begun = system.clock.monotonic()
        with pytest.raises(DeadlineExceeded):
            await ask(system, b"slow")
        assert 2.0 <= system.clock.monotonic() - begun <= 2.05
        asking = asyncio.ensure_future(ask(system, b"slow"))
        await system.advance(1.0)
        faults.kill("stock")
        with pytest.raises(ConnectionLost):
            await asking
        with pytest.raises(Unreachable, match="the service is down"):
            await ask(system, b"lamp")


async def test_faults_meet_calls_over_grpc(skerry_system, faults):
    """A doubled call arrives twice, and the first answer counts; a lost reply is a lost connection."""
    async with skerry_system([make_stock, make_shop]) as system:
        faults.duplicate("stock", route="GRPC /shop.Stock/*", count=1)
        assert await ask(system, b"lamp", metadata=KEY) == b"1 lamp"
        assert await ask(system, b"lamp") == b"3 lamp"
        faults.lost_reply("stock", count=1)
        with pytest.raises(ConnectionLost):
            await ask(system, b"lamp")


async def test_a_stream_is_refused(skerry_system):
    """What is not carried in one process says so, and says what to use instead."""
    async with skerry_system([make_stock, make_shop]) as system:
        with pytest.raises(ConfigurationError, match="one request and one answer; use real servers"):
            system.services["shop"].stock.unary_stream("/shop.Stock/Watch")
