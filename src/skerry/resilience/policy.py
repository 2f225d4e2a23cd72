"""A policy: everything that protects one kind of call, in the one order that works."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext

from skerry.clock import SYSTEM, Clock
from skerry.resilience._limit import Limit, Slot
from skerry.resilience._part import P, Part, T, plain, require
from skerry.resilience.breaker import CircuitBreaker
from skerry.resilience.retry import Retry
from skerry.resilience.timeout import TimeLimit


class Policy(Part):
    """Protects calls to one dependency. From the outside in, always:

    1. `total`: seconds for everything, waiting included; then `DeadlineExceeded`.
    2. `limit`: how many calls at once; beyond that `BulkheadFull`. It holds its slot through retries.
    3. `retry`: each attempt passes what follows.
    4. `breaker`: sees every attempt; open, it ends retrying.
    5. `attempt`: seconds for one attempt; then `AttemptTimeout`.

    Both limits are cut to the deadline around the call, and the function sees the earliest as its own (`context.current()`),
    so inner calls and other services know how much time is left. An async function that honours cancellation is stopped there;
    a sync function is not interrupted: its waits and retries are bounded, and it may read the deadline. What the function
    raises, its own `TimeoutError` too, passes unchanged; a cancellation from outside stays one.

    Without options a call gets 10 seconds and nothing else. `total=None` takes that limit away.

    Example: `Policy("payment", total=2.0, attempt=0.5, retry=Retry(3), breaker=CircuitBreaker(), limit=Bulkhead(20))`
    """

    def __init__(
        self,
        name: str,
        *,
        total: float | None = 10.0,
        attempt: float | None = None,
        limit: Limit | None = None,
        retry: Retry | None = None,
        breaker: CircuitBreaker | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        super().__init__(name, clock)
        require(total is None or 0 < total < math.inf, f"{name}: total is {total}; give seconds above 0")
        require(attempt is None or 0 < attempt < math.inf, f"{name}: attempt is {attempt}; give seconds above 0")
        self.total = total
        self.attempt = attempt
        self.limit = limit
        self.retry = retry
        self.breaker = breaker
        for part in (limit, retry, breaker):
            if part is not None:
                part.join(self)

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)` under this policy. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        total = TimeLimit(self.total, policy=self.name, clock=self.clock)

        async def attempt() -> T:
            limit = self._attempt_limit(total)
            with self._permit(), limit.enforced():
                return await fn(*args, **kwargs)

        # nothing outside the attempt needs a timer: every wait there ends by the deadline it is told
        with total.announced():
            async with self._slot():
                if self.retry is None:
                    return await attempt()
                return await self.retry.run(attempt, policy=self.name, breaker=self.breaker)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, called under this policy. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        total = TimeLimit(self.total, policy=self.name, clock=self.clock)

        def attempt() -> T:
            limit = self._attempt_limit(total)
            with self._permit(), limit.announced():
                return plain(fn(*args, **kwargs))

        with total.announced(), self._slot():
            if self.retry is None:
                return attempt()
            return self.retry.run_sync(attempt, policy=self.name, breaker=self.breaker)

    def explain(self) -> str:
        """The parts in their order, with their numbers: one line each."""
        lines = [] if self.total is None else [f"total time-out: {self.total:g} s"]
        lines += [part.describe() for part in (self.limit, self.retry, self.breaker) if part is not None]
        if self.attempt is not None:
            lines.append(f"attempt time-out: {self.attempt:g} s")
        numbered = [f"  {number}. {line}" for number, line in enumerate(lines, 1)]
        return "\n".join([f"{self.name}, from the outside in:", *numbered])

    def describe(self) -> str:
        """The same as `explain`."""
        return self.explain()

    def _slot(self) -> Slot | nullcontext[None]:
        return nullcontext() if self.limit is None else self.limit.slot(self.name)

    def _permit(self) -> AbstractContextManager[None]:
        return nullcontext() if self.breaker is None else self.breaker.permit(self.name)

    def _attempt_limit(self, total: TimeLimit) -> TimeLimit:
        return TimeLimit(self.attempt, policy=self.name, clock=self.clock, scope="attempt", outer=total)
