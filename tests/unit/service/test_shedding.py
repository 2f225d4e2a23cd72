from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgi import Answer, play, request, settings
from fastapi import FastAPI

from skerry.resilience import AdaptiveLimit
from skerry.service import Service
from skerry.service.shedding import IDLE_TICKS, TICK
from skerry.signals import CallRefused, Signal
from skerry.testing import VirtualClock


def make(tmp_path: Path, clock: VirtualClock, limit: AdaptiveLimit | None = None) -> tuple[Service, list[str]]:
    """A service whose `/work` takes a second, and who was served by it."""
    api, served = FastAPI(), []

    @api.get("/jobs/{who}")
    async def work(who: str) -> None:
        served.append(who)
        await clock.sleep(1.0)

    return Service("stock", app=api, limit=limit, settings=settings(tmp_path), clock=clock), served


async def ask(service: Service, who: str = "x", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(service.app, "GET", f"/jobs/{who}", headers=named)


async def labour(clock: VirtualClock, seconds: float, times: int) -> None:
    """A loop in which every turn takes so long."""
    for _ in range(times):
        clock.advance(seconds)
        await clock.sleep(0.001)


def in_play(act: Callable[[VirtualClock], Awaitable[Any]]) -> None:
    play(act)


def assert_shed(answer: Answer) -> None:
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")


@pytest.mark.parametrize(
    ("lag", "shed"),
    [(0.03, []), (0.07, ["0", "3"]), (0.15, ["0", "3", "5", "6"]), (0.3, ["0", "3", "5", "6", "7", "9"])],
)
def test_a_late_loop_sheds_the_least_important_first(tmp_path, signals: list[Signal], lag, shed):
    """From 50 ms of lag the least important requests are refused, from 100 ms the usual ones, from 200 ms all but health."""

    async def act(clock: VirtualClock) -> None:
        service, served = make(tmp_path, clock)
        first = asyncio.create_task(ask(service))
        await labour(clock, lag, 5)
        tasks = {p: asyncio.create_task(ask(service, p, skerry_priority=p)) for p in ("0", "3", "5", "6", "7", "9")}
        answers = {priority: await task for priority, task in tasks.items()}
        for priority in shed:
            assert_shed(answers[priority])
        assert served == ["x", *(priority for priority in tasks if priority not in shed)]
        assert (await first).status == 200

    in_play(act)
    refused = [signal for signal in signals if isinstance(signal, CallRefused)]
    assert refused == [CallRefused(policy="stock", reason="event_loop_lag")] * len(shed)


def test_one_slow_callback_sheds_nothing(tmp_path):
    """A single late turn of the loop is no overload."""

    async def act(clock: VirtualClock) -> None:
        service, _ = make(tmp_path, clock)
        first = asyncio.create_task(ask(service))
        await clock.sleep(0.1)
        clock.advance(0.5)
        await clock.sleep(TICK / 2)
        assert (await ask(service, skerry_priority="0")).status == 200
        await first

    in_play(act)


def test_a_loop_that_keeps_up_again_serves_again(tmp_path):
    """Shedding ends with the lag."""

    async def act(clock: VirtualClock) -> None:
        service, _ = make(tmp_path, clock)
        first = asyncio.create_task(ask(service))
        await labour(clock, 0.3, 5)
        assert_shed(await ask(service))
        await clock.sleep(3 * TICK)
        assert (await ask(service)).status == 200
        await first

    in_play(act)


def test_health_always_answers(tmp_path):
    """However overloaded, `/health/live` is answered: restarting what is busy helps nobody."""

    async def act(clock: VirtualClock) -> None:
        service, _ = make(tmp_path, clock, AdaptiveLimit(min=1, max=1, queue=0, clock=clock))
        first = asyncio.create_task(ask(service))
        await labour(clock, 0.3, 5)
        assert (await request(service.app, "GET", "/health/live")).status == 200
        await first

    in_play(act)


def test_a_full_limit_sheds(tmp_path, signals: list[Signal]):
    """Beyond its limit and queue a service refuses at once, and what it refuses the application never sees."""

    async def act(clock: VirtualClock) -> None:
        service, served = make(tmp_path, clock, AdaptiveLimit(min=1, max=1, queue=1, by="delay", clock=clock))
        tasks = [asyncio.create_task(ask(service, str(number))) for number in range(3)]
        answers = await asyncio.gather(*tasks)
        assert sorted(answer.status for answer in answers) == [200, 503, 503]
        assert_shed(answers[2])
        assert served == ["0"]

    in_play(act)
    refused = [signal for signal in signals if isinstance(signal, CallRefused)]
    assert refused == [CallRefused(policy="stock", reason="overloaded")] * 2


def test_expired_work_is_not_begun(tmp_path, signals: list[Signal]):
    """A request whose caller has no time left is refused before the application sees it."""

    async def act(clock: VirtualClock) -> None:
        service, served = make(tmp_path, clock)
        answer = await ask(service, skerry_timeout="0.000")
        assert (answer.status, answer.json()["code"]) == (504, "timed_out")
        assert served == []

    in_play(act)
    assert CallRefused(policy="stock", reason="expired") in signals


def test_a_place_comes_back_however_a_request_ends(tmp_path):
    """A request that raises, is cut off at its deadline or is cancelled leaves no place taken."""

    async def act(clock: VirtualClock) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/broken":
                raise ValueError
            await clock.sleep(9.0)

        limit = AdaptiveLimit(min=1, max=2, queue=0, clock=clock)
        service = Service("stock", app=app, limit=limit, settings=settings(tmp_path), clock=clock)
        assert (await request(service.app, "GET", "/broken")).status == 500
        assert (await request(service.app, "GET", "/slow", headers={"skerry-timeout": "0.5"})).status == 504
        cancelled = asyncio.create_task(request(service.app, "GET", "/slow"))
        await clock.sleep(0.1)
        assert limit.active == 1
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert (limit.active, limit.limit) == (0, 2)

    in_play(act)


def test_an_idle_service_looks_at_nothing(tmp_path):
    """The timer that reads the loop's lag ends a second after the last request."""

    async def act(clock: VirtualClock) -> None:
        service, _ = make(tmp_path, clock)
        await ask(service)
        lag = service._shedding._lag
        assert lag._timer is not None
        await clock.sleep((IDLE_TICKS + 2) * TICK)
        assert lag._timer is None

    in_play(act)
