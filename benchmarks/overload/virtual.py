"""The chain client-A-B-C in virtual time, from skerry's real parts: the same figures on every machine, by seed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from benchmarks.overload.load import PATIENCE, Outcome, Scenario
from benchmarks.overload.policies import calling
from skerry import context
from skerry.errors import SkerryError, StatusError
from skerry.resilience import AdaptiveLimit, deadline
from skerry.service.problem import Problem, of
from skerry.service.shedding import Shedding
from skerry.testing import VirtualClock, run_virtual

WORKERS, WORK = 10, 0.05
"""C does so many things at once, each in so many seconds."""
CAPACITY = WORKERS / WORK

Handler = Callable[[], Awaitable[None]]


def run_chain(who: str, scenario: Scenario, *, seed: int) -> Outcome:
    """One run; `who` is ours or naive."""
    outcome = Outcome(scenario)

    async def main(clock: VirtualClock) -> Outcome:
        bottleneck = _Bottleneck(clock)
        serve = _service("C", bottleneck, clock) if who == "ours" else bottleneck

        async def c() -> None:
            outcome.reached[int(clock.monotonic())] += 1
            await serve()

        entry = _ours(c, clock) if who == "ours" else _naive(c)
        await _arrivals(clock, scenario, entry, outcome)
        return outcome

    return run_virtual(main, seed=seed)


async def _arrivals(clock: VirtualClock, scenario: Scenario, entry: Handler, outcome: Outcome) -> None:
    """An open loop: who asks does not care how the others fare."""

    async def ask() -> None:
        began = clock.monotonic()
        ok = True
        try:
            await asyncio.wait_for(entry(), PATIENCE)
        except (SkerryError, TimeoutError):
            ok = False
        outcome.note(began, ok=ok)

    async with asyncio.TaskGroup() as group:
        while (now := clock.monotonic()) < scenario.seconds:
            group.create_task(ask())
            await clock.sleep(-math.log(1.0 - clock.random()) / scenario.rate(now))


class _Bottleneck:
    """C's own work: what has begun is done to its end, also when nobody waits for it any more."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._workers = asyncio.Semaphore(WORKERS)

    async def __call__(self) -> None:
        async with self._workers:
            await asyncio.shield(_spawn(self._clock.sleep(WORK)))


_running: set[asyncio.Task[None]] = set()


def _spawn(work: Awaitable[None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    assert isinstance(task, asyncio.Task)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # its caller may have left


def _naive(bottleneck: Handler) -> Handler:
    """Three attempts a hop, one second each, first come first served, and nobody learns that a caller has left."""

    async def hop(callee: Handler) -> None:
        for _ in range(3):
            task = _spawn(callee())
            await asyncio.wait([task], timeout=PATIENCE)
            if task.done() and task.exception() is None:
                return
        raise TimeoutError

    async def b() -> None:
        await hop(bottleneck)

    async def a() -> None:
        await hop(b)

    return a  # who asks leaves before a second attempt


def _ours(c: Handler, clock: VirtualClock) -> Handler:
    """A policy for each hop, a limit and the caller's deadline at each service."""
    b = _service("B", _calling("C", c, clock), clock)
    a = _service("A", _calling("B", b, clock), clock)
    return _calling("A", a, clock)


def _service(name: str, handler: Handler, clock: VirtualClock) -> Handler:
    """What the border of a `Service` does before and after its handler, and which status its errors are on the wire."""
    shedding = Shedding(name, AdaptiveLimit(by="delay", name=name, clock=clock), clock)

    async def serve() -> None:
        left = context.current().remaining(clock)
        try:
            async with deadline(PATIENCE if left is None else left, clock=clock):
                await shedding.enter()
                began, answered = clock.monotonic(), False
                try:
                    await handler()
                    answered = True
                finally:
                    shedding.leave(clock.monotonic() - began, answered=answered)
        except (Problem, SkerryError) as error:
            problem = of(error)
            raise StatusError(name, problem.status if problem else 500) from error

    return serve


def _calling(callee: str, served: Handler, clock: VirtualClock) -> Handler:
    policy = calling(callee, clock=clock)

    async def attempt() -> None:
        await asyncio.shield(_spawn(served()))

    async def call() -> None:
        await policy.call(attempt)

    return call
