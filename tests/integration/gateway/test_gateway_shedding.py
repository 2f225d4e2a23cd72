"""The embedded engine under more than it can do: what is least important is refused at once, and everything else answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from patience import be_late
from peers import answers, reply
from stage import Stage, on_stage

from skerry.signals import HUB, CallRefused

SPEC = """
services: {shop: {connect: 60}}
routes:
  - {name: search, path: /search, service: shop, priority: 2}
  - {name: orders, path: /orders, service: shop}
  - {name: pay, path: /pay, service: shop, priority: 8}
"""
BOUND = 60.0
PRIORITIES = {"search": b"2", "orders": None, "pay": b"8"}


@pytest.fixture
def refused() -> Iterator[list[CallRefused]]:
    found: list[CallRefused] = []
    end = HUB.subscribe(lambda told: found.append(told) if isinstance(told, CallRefused) else None)
    yield found
    end()


@contextmanager
def labour(seconds: float) -> Iterator[None]:
    """Every hundredth of a second a callback takes so long."""
    loop = asyncio.get_running_loop()
    timer: list[asyncio.TimerHandle] = []

    def work() -> None:
        be_late(seconds)
        timer[:] = [loop.call_later(0.01, work)]

    timer[:] = [loop.call_later(0.01, work)]
    try:
        yield
    finally:
        timer[0].cancel()


async def until_late(stage: Stage, *, over: float) -> None:
    """Until the gateway has noticed how late its loop runs."""
    async with asyncio.timeout(BOUND):
        while stage.gateway.lag.look() <= over:
            await asyncio.sleep(0.005)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("busy", "over", "shed"),
    [(0.08, 0.05, ["search"]), (0.16, 0.1, ["search", "orders"]), (0.4, 0.2, ["search", "orders", "pay"])],
)
def test_a_late_loop_sheds_the_least_important_first(
    busy: float, over: float, shed: list[str], refused: list[CallRefused]
) -> None:
    """From 50 ms of lag low priorities are refused, from 100 ms the usual ones, from 200 ms all but the gateway's own health."""

    async def play(stage: Stage) -> None:
        with labour(busy):
            await until_late(stage, over=over)
            replies = {name: await stage.raw(get(f"/{name}")) for name in PRIORITIES}
            health = await stage.raw(get("/health/live"))
        for name, answer in replies.items():
            head, _, body = answer.partition(b"\r\n\r\n")
            if name in shed:
                assert head.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nretry-after: 1" in head.lower()
                assert b'"overloaded"' in body
            else:
                assert head.startswith(b"HTTP/1.1 200 ")
        assert health.startswith(b"HTTP/1.1 200 ")
        assert len(stage.peers["shop"].requests) == len(PRIORITIES) - len(shed)

    on_stage(SPEC, {"shop": answers(reply())}, play)
    assert refused == [CallRefused(policy=name, reason="event_loop_lag") for name in shed]


def test_a_loop_that_keeps_up_again_serves_again() -> None:
    """Shedding ends with the lag."""

    async def play(stage: Stage) -> None:
        with labour(0.4):
            await until_late(stage, over=0.2)
            assert b" 503 " in (await stage.raw(get("/orders")))[:20]
        async with asyncio.timeout(BOUND):
            while stage.gateway.lag.look() > 0.0:
                await asyncio.sleep(0.005)
        assert b" 200 " in (await stage.raw(get("/orders")))[:20]

    on_stage(SPEC, {"shop": answers(reply())}, play)


def test_services_hear_the_priority_of_the_route_and_not_the_clients() -> None:
    """What a client says of its own importance is nothing."""

    async def play(stage: Stage) -> None:
        for name in PRIORITIES:
            asked = get(f"/{name}").replace(b"\r\n\r\n", b"\r\nskerry-priority: 9\r\n\r\n")
            assert b" 200 " in (await stage.raw(asked))[:20]
        told: list[Any] = [dict(request.headers).get("skerry-priority") for request in stage.peers["shop"].requests]
        assert told == [None if each is None else each.decode() for each in PRIORITIES.values()]

    on_stage(SPEC, {"shop": answers(reply())}, play)
