"""Virtual time: hours of retries, leases and time-outs in a millisecond, the same way every time.

`VirtualLoop` is an asyncio event loop whose time stands still while anything is ready to run and jumps to the next timer when
nothing is. `VirtualClock` is the `Clock` that goes with it. A failure found with a seed is found again with that seed.
"""

from __future__ import annotations

import asyncio
import math
import random  # noqa: TID251 - this is a clock
import selectors
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from skerry.clock import Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WALL_START = 1_750_000_000.0
"""Where `VirtualClock.now` starts: a moment in June 2025, in seconds since 1970."""
MAX_ITERATIONS = 5_000_000
"""Turns of a `VirtualLoop` before it is taken to spin for ever."""
MAX_AT_ONCE = 200_000
"""Turns at one moment, before no later one is expected: minutes of work, as of events that bring each other about in a ring."""


class Stalled(RuntimeError):
    """The program under test cannot go on: everything waits and nothing is due, or it spins without end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time; `time` starts at 0 seconds.

    Functions given to `run_in_executor` run at once in the calling thread, so code that hops to threads is repeatable too.
    Sockets are polled but never waited for. Raises `Stalled` when nothing is ready and no timer is set, after `max_iterations`
    turns, and after 200,000 during which no time has passed.
    """

    def __init__(self, *, max_iterations: int = MAX_ITERATIONS) -> None:
        self._virtual_now = 0.0
        self._thread = threading.get_ident()
        super().__init__(_JumpingSelector(self.advance, max_iterations))
        self.advance(0.0)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; timers that fall due run in the loop's next turn."""
        self._virtual_now += max(0.0, seconds)
        # asyncio runs a timer when `when < time + resolution`; one float step makes that `when <= time`, at any time
        self._clock_resolution = math.ulp(self._virtual_now)

    def run_in_executor(self, _executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` now, in this thread; the future returned is done."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # whatever it raises belongs to who awaits the future
            done.set_exception(error)
        return done

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As in asyncio; from the loop's own thread it leaves the wake-up socket alone, which keeps order repeatable."""
        if threading.get_ident() == self._thread:
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)


class _JumpingSelector(selectors.BaseSelector):
    """A selector that lets virtual time pass where a real one would block."""

    def __init__(self, advance: Callable[[float], None], max_iterations: int) -> None:
        self._real = selectors.DefaultSelector()
        self._advance = advance
        self._max_iterations = max_iterations
        self._iterations = 0
        self._at_once = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._iterations += 1
        self._at_once += 1
        if self._iterations > self._max_iterations or self._at_once > MAX_AT_ONCE:
            turns = self._max_iterations if self._iterations > self._max_iterations else MAX_AT_ONCE
            self._iterations = self._at_once = 0  # the tasks that spin still have to be cancelled
            raise Stalled(
                f"no end after {turns} turns of the loop: does something spin without sleeping, "
                "or do events bring each other about in a ring?"
            )
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise Stalled("deadlock: every task waits, nothing is ready and no timer is set")
        self._advance(timeout)
        self._at_once = 0
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualClock(Clock):
    """Time that a test moves, and randomness from a seed.

    With a `VirtualLoop` the time is the loop's. Without one it moves only by `advance` and by sleeping, both of which return
    at once: enough for code that does not use asyncio. `start` is what `now` says at the beginning.
    """

    __slots__ = ("_loop", "_now", "_random", "_wall")

    def __init__(self, loop: VirtualLoop | None = None, *, seed: int = 0, start: float = WALL_START) -> None:
        self._loop = loop
        self._now = 0.0
        self._wall = start
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def now(self) -> float:
        """Virtual wall-clock time in seconds since 1970."""
        return self._wall + self.monotonic()

    def monotonic(self) -> float:
        """Virtual seconds since the loop, or without one this clock, was made."""
        return self._now if self._loop is None else self._loop.time()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        if self._loop is None:
            self._now += max(0.0, seconds)
        else:
            self._loop.advance(seconds)

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock only, forwards or back, as an administrator or NTP may."""
        self._wall += seconds

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; other tasks run meanwhile."""
        if self._loop is None:
            self.advance(seconds)
            seconds = 0
        await asyncio.sleep(seconds)  # noqa: TID251 - this is a clock

    def sleep_sync(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self.advance(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Whether `event` is set; when it is not, `seconds` pass at once, for no other thread is waited for."""
        if not event.is_set():
            self.advance(seconds)
        return event.is_set()

    def random(self) -> float:
        """The next number from the seed, in [0, 1)."""
        return self._random.random()

    def random_bytes(self, n: int) -> bytes:
        """The next `n` bytes from the seed."""
        return self._random.randbytes(n)

    def hex_id(self) -> str:
        """The next 16 hex digits from the seed."""
        return self._random.randbytes(8).hex()


def run_virtual(main: Callable[[VirtualClock], Awaitable[T]], *, seed: int = 0) -> T:
    """Run `main(clock)` on a fresh `VirtualLoop` to its end and return what it returns.

    Tasks left over are cancelled. Raises `Stalled` when the program cannot go on. The same seed gives the same run.

    Example: `run_virtual(lambda clock: clock.sleep(3600.0))` takes no time.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop, seed=seed)

        async def start() -> T:
            return await main(clock)

        return runner.run(start())
