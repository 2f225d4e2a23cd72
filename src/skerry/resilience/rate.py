"""A rate limit: so many calls in so much time, for all or for each key.

The token bucket is kept as its generic cell rate algorithm (ITU-T I.371): one number for each key, the time at which its bucket
is full again. The sliding window keeps the times of the calls in it, so that no stretch of time, wherever it begins, has more.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from skerry.clock import Clock
from skerry.context import current
from skerry.errors import RateLimited
from skerry.resilience._fork import Forked
from skerry.resilience._part import P, Part, T, plain, require
from skerry.signals import CallRefused, emit

MAX_KEYS = 10_000
"""Keys that are remembered. Beyond them the one unused for longest is forgotten, and has its whole allowance again."""
ROUNDING = 1e-9
"""Seconds that a turn may be early, so that who comes exactly in time is not refused for a last digit."""


class RateLimit(Part, Forked):
    """Lets `calls` begin in `per` seconds, over all tasks and threads.

    As a token bucket, the default, it holds `burst` tokens (`calls`, unless given) and gets one back every `per / calls`
    seconds. With `sliding=True` no stretch of `per` seconds sees more than `calls` begin, which costs memory for each of them.

    A call that comes too early raises `RateLimited`, with `retry_after` in seconds, unless its turn comes within `wait`
    seconds and before its deadline: then it waits for it. Waiting calls are in turn; a cancelled one gives its turn back,
    unless others wait behind it. `key`, called with the arguments of the call, tells whose allowance it is: each key has one
    of its own, of the 10,000 used last. A failed call has used its token all the same.

    Example: `RateLimit(100, per=1.0, burst=20, wait=0.5)`
    """

    def __init__(
        self,
        calls: int,
        *,
        per: float = 1.0,
        burst: int | None = None,
        sliding: bool = False,
        wait: float = 0.0,
        key: Callable[..., Hashable] | None = None,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(calls >= 1, f"RateLimit: calls is {calls}; it must be at least 1")
        require(0 < per < math.inf, f"RateLimit: per is {per}; give seconds above 0")
        require(burst is None or burst >= 1, f"RateLimit: burst is {burst}; it must be at least 1")
        require(not sliding or burst is None, "RateLimit: a sliding window has no burst; leave it out")
        require(0 <= wait < math.inf, f"RateLimit: wait is {wait}; give seconds from 0")
        self.calls: int = calls
        self.per: float = per
        self.burst: int = calls if burst is None else burst
        self.sliding = sliding
        self.max_wait: float = wait
        self._key = key
        self._allowances: OrderedDict[Hashable, _Allowance] = OrderedDict()
        self._lock = threading.Lock()
        self.survive_forks()

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)` when its turn comes. Raises `RateLimited`, and what `fn` raises."""
        await self.acquire(self._key_of(args, kwargs))
        return await fn(*args, **kwargs)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, called when its turn comes. Raises `RateLimited`, and what `fn` raises."""
        self.acquire_sync(self._key_of(args, kwargs))
        return plain(fn(*args, **kwargs))

    async def acquire(self, key: Hashable = None) -> None:
        """Take a token of `key`, or wait for one as long as that is allowed. Raises `RateLimited`."""
        allowance, turn, seconds = self._take(key)
        if seconds > 0:
            try:
                await self.clock.sleep(seconds)
            except BaseException:
                self._give_back(allowance, turn)
                raise

    def acquire_sync(self, key: Hashable = None) -> None:
        """The same for a thread."""
        allowance, turn, seconds = self._take(key)
        if seconds > 0:
            try:
                self.clock.sleep_sync(seconds)
            except BaseException:  # an interrupt
                self._give_back(allowance, turn)
                raise

    def adopt(self, other: Part) -> bool:
        """Take the numbers of another that counts in the same way. Tokens that were used stay used, and turns stay as they were
        given; a sliding window that becomes longer knows what it knew before.
        """
        if not isinstance(other, RateLimit) or other.sliding != self.sliding:
            return False
        now = self.clock.monotonic()
        with self._lock:
            self.calls, self.per, self.burst = other.calls, other.per, other.burst
            self.max_wait, self._key = other.max_wait, other._key
            for allowance in self._allowances.values():
                allowance.change(self, now)
        return True

    def after_fork(self) -> None:
        """What was used stays used; the lock may be held by a thread that did not come along."""
        self._lock = threading.Lock()

    def describe(self) -> str:
        """The rate in words."""
        burst = "in any such time" if self.sliding else f"bursts of {self.burst}"
        keyed = " for each key" if self._key else ""
        wait = f", waits up to {self.max_wait:g} s" if self.max_wait else ""
        return f"rate limit: {self.calls} calls in {self.per:g} s{keyed}, {burst}{wait}"

    def _key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        return None if self._key is None else self._key(*args, **kwargs)

    def _take(self, key: Hashable) -> tuple[_Allowance, float, float]:
        """An allowance, the instant of the turn taken of it, and the seconds until then. Raises `RateLimited`."""
        now = self.clock.monotonic()
        left = current().remaining(self.clock)
        patience = self.max_wait if left is None else min(self.max_wait, left)
        with self._lock:
            allowance = self._allowance(key)
            turn = max(now, allowance.next_turn(now))
            if turn - now <= patience + ROUNDING:
                allowance.take(turn)
                return allowance, turn, turn - now
        seconds = turn - now
        emit(CallRefused(policy=self.name, reason=RateLimited.reason))
        raise RateLimited(
            f"{self.name}: more than {self.calls} calls in {self.per:g} s; try in {seconds:.3g} s", retry_after=seconds
        )

    def _give_back(self, allowance: _Allowance, turn: float) -> None:
        with self._lock:
            allowance.give_back(turn)

    def _allowance(self, key: Hashable) -> _Allowance:
        allowance = self._allowances.get(key)
        if allowance is None:
            if len(self._allowances) >= MAX_KEYS:
                self._allowances.popitem(last=False)
            allowance = _Window(self) if self.sliding else _Bucket(self)
            self._allowances[key] = allowance
        else:
            self._allowances.move_to_end(key)
        return allowance


class _Allowance(ABC):
    """What one key may still do. Instants are seconds on the monotonic clock."""

    __slots__ = ()

    @abstractmethod
    def next_turn(self, now: float) -> float:
        """When the next call may begin."""

    @abstractmethod
    def take(self, turn: float) -> None:
        """Count a call that begins at `turn`, no earlier than `next_turn` said."""

    @abstractmethod
    def give_back(self, turn: float) -> None:
        """The call of that turn does not begin after all."""

    @abstractmethod
    def change(self, rate: RateLimit, now: float) -> None:
        """Take its numbers."""


class _Bucket(_Allowance):
    """At most `burst` tokens, one more every `interval` seconds."""

    __slots__ = ("_burst", "_full", "_interval", "_last")

    def __init__(self, rate: RateLimit) -> None:
        self._burst = rate.burst
        self._interval = rate.per / rate.calls
        self._full = -math.inf
        self._last = -math.inf

    def change(self, rate: RateLimit, now: float) -> None:
        used = max(0.0, self._full - now) / self._interval
        self._burst = rate.burst
        self._interval = rate.per / rate.calls
        self._full = now + used * self._interval

    def next_turn(self, now: float) -> float:
        del now
        return self._full - (self._burst - 1) * self._interval

    def take(self, turn: float) -> None:
        self._full = max(self._full, turn) + self._interval
        self._last = turn

    def give_back(self, turn: float) -> None:
        # a token that others stand behind lapses: handed on, it would come on top of theirs
        if turn == self._last:
            self._full -= self._interval
            self._last = -math.inf


class _Window(_Allowance):
    """The turns of the last `per` seconds, `calls` at most, and those to come."""

    __slots__ = ("_calls", "_per", "_turns")

    def __init__(self, rate: RateLimit) -> None:
        self._turns: deque[float] = deque()
        self.change(rate, 0.0)

    def change(self, rate: RateLimit, now: float) -> None:
        del now
        self._calls = rate.calls
        self._per = rate.per

    def next_turn(self, now: float) -> float:
        while self._turns and self._turns[0] <= now - self._per:
            self._turns.popleft()
        if len(self._turns) < self._calls:
            return max(now, self._turns[-1]) if self._turns else now  # nobody overtakes those who wait
        return self._turns[-self._calls] + self._per

    def take(self, turn: float) -> None:
        self._turns.append(turn)

    def give_back(self, turn: float) -> None:
        if turn in self._turns:
            self._turns.remove(turn)
