"""A policy: everything that protects one kind of call, in the one order that works."""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import CoroutineType
from typing import Any

from skerry.clock import SYSTEM, Clock
from skerry.context import (
    current,
    get_deadline,
    get_retried,
    reset_deadline,
    reset_retried,
    set_deadline,
    set_retried,
    use,
)
from skerry.errors import DeadlineExceeded
from skerry.resilience._limit import Limit, overload
from skerry.resilience._part import P, Part, T, plain, require
from skerry.resilience._wheel import Here, here
from skerry.resilience._window import TimeWindow, Window
from skerry.resilience.breaker import CircuitBreaker, Ticket
from skerry.resilience.chaos import Chaos
from skerry.resilience.fallback import Fallback
from skerry.resilience.hedge import Hedge
from skerry.resilience.rate import RateLimit
from skerry.resilience.retry import Retry, Tries
from skerry.resilience.timeout import ended_by, kept, ran_out
from skerry.signals import PolicyReloaded, emit

_PARTS = ("limit", "retry", "breaker", "rate", "hedge", "fallback", "chaos")
Hot = tuple[
    "Plan | None",
    Limit | None,
    bool,
    CircuitBreaker | None,
    TimeWindow | None,
    Callable[[], float],
    float,
    float | None,
    bool,
]
"""What each call needs, to be unpacked at once: the plan without the parts outside and inside the one frame, where there are
any, and the plan itself where there are no parts at all; the limit, and whether it is timed; breaker, the budget's requests, the
clock; seconds for the whole and for an attempt; whether it retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The limits and parts of a policy at one moment. A call keeps the one it began with."""

    name: str
    clock: Clock
    total: float | None
    attempt: float | None
    limit: Limit | None
    retry: Retry | None
    breaker: CircuitBreaker | None
    rate: RateLimit | None = None
    hedge: Hedge | None = None
    fallback: Fallback | None = None
    chaos: Chaos | None = None
    hot: Hot = field(init=False, repr=False, compare=False)
    here: Here = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, seconds in (("total", self.total), ("attempt", self.attempt)):
            require(
                seconds is None or 0 < seconds < math.inf, f"{self.name}: {what} is {seconds}; give seconds above 0"
            )
        budget = None if self.retry is None else self.retry.budget
        others = any(part is not None for part in (self.rate, self.hedge, self.fallback, self.chaos))
        inner = any(part is not None for part in (self.attempt, self.limit, self.retry, self.breaker))
        bare = replace(self, rate=None, hedge=None, fallback=None, chaos=None) if others else None
        hot = (
            bare if others or inner else self,
            self.limit,
            self.limit is not None and self.limit.timed,
            self.breaker,
            None if budget is None else budget.recent,
            self.clock.monotonic,
            math.inf if self.total is None else self.total,
            self.attempt,
            self.retry is not None and self.retry.attempts > 1,
        )
        object.__setattr__(self, "hot", hot)
        object.__setattr__(self, "here", here(self.clock))

    def deposit_in_turn(self, now: float) -> None:
        """Count a request at `now`, and forget those that are too old by then."""
        if self.retry is not None and self.retry.budget is not None:
            self.retry.budget.deposit_in_turn(now)

    def around(self, core: Callable[..., Awaitable[T]], fn: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        """All parts around `fn`, of which `core` holds those in the one frame."""
        for part in (self.chaos, self.hedge):
            if part is not None:
                fn = partial(part.call, fn)
        protected: Callable[..., Awaitable[T]] = partial(core, fn)
        for outer in (self.rate, self.fallback):
            if outer is not None:
                protected = partial(outer.call, protected)
        return protected

    def around_sync(self, core: Callable[..., T], fn: Callable[..., T]) -> Callable[..., T]:
        """The same for a sync function."""
        for part in (self.chaos, self.hedge):
            if part is not None:
                fn = partial(part.call_sync, fn)
        protected: Callable[..., T] = partial(core, fn)
        for outer in (self.rate, self.fallback):
            if outer is not None:
                protected = partial(outer.call_sync, protected)
        return protected

    def tries(self, deadline: float, *, outer_layer_retries: bool) -> Tries:
        """What follows the failure of a call's first attempt."""
        return Tries(self.retry, self.name, self.breaker, deadline, outer_layer_retries=outer_layer_retries)

    def over(self, begun: float, now: float, until: float, deadline: float, outer: float) -> DeadlineExceeded:
        """The error of a call begun at `begun` whose attempt, begun at `now`, had to end at `until`."""
        if until != deadline:
            return ran_out(self.name, scope="attempt", seconds=until - now)
        return ran_out(self.name, scope="total", seconds=until - begun, imposed=until == outer)


class Policy(Part):
    """Protects calls to one dependency. From the outside in, always:

    1. `fallback`: answers for a call that failed, whatever of the following it failed of.
    2. `rate`: how many calls in a time; beyond that `RateLimited`. What it waits for its turn is not part of `total`.
    3. `total`: seconds for everything that follows, waiting included; then `DeadlineExceeded`.
    4. `limit`: how many calls at once; beyond that `BulkheadFull` or `Overloaded`. It holds its slot through retries.
    5. `retry`: each attempt passes what follows.
    6. `breaker`: sees every attempt; open, it ends retrying.
    7. `attempt`: seconds for one attempt; then `AttemptTimeout`.
    8. `hedge`: a second call beside a slow one, within the same attempt.
    9. `chaos`: where the dependency would be.

    Both time limits are cut to the deadline around the call, and the function sees the earliest as its own (`context.current()`),
    so inner calls and other services know how much time is left. An async function that honours cancellation is stopped there,
    up to 20 ms late while the event loop turns, never early; a sync function is not interrupted: its waits and retries are
    bounded, and it may read the deadline. What the function raises, its own `TimeoutError` too, passes unchanged; a
    cancellation from outside stays one.

    Without options a call gets 10 seconds and nothing else. `total=None` takes that limit away. Without a `clock` it takes that
    of its parts.

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
        rate: RateLimit | None = None,
        hedge: Hedge | None = None,
        fallback: Fallback | None = None,
        chaos: Chaos | None = None,
        clock: Clock | None = None,
    ) -> None:
        parts = [part for part in (limit, retry, breaker, rate, hedge, fallback, chaos) if part is not None]
        own = (part.own_clock for part in parts)
        super().__init__(name, clock or next((given for given in own if given is not None), SYSTEM))
        for part in parts:
            self._take_in(part)
        self._plan = Plan(
            name=self.name, clock=self.clock, total=total, attempt=attempt, limit=limit, retry=retry, breaker=breaker,
            rate=rate, hedge=hedge, fallback=fallback, chaos=chaos,
        )  # fmt: skip

    @property
    def total(self) -> float | None:
        """Seconds for a whole call."""
        return self._plan.total

    @property
    def attempt(self) -> float | None:
        """Seconds for one attempt."""
        return self._plan.attempt

    @property
    def limit(self) -> Limit | None:
        """What bounds the calls at once."""
        return self._plan.limit

    @property
    def retry(self) -> Retry | None:
        """What calls again."""
        return self._plan.retry

    @property
    def breaker(self) -> CircuitBreaker | None:
        """What stops calling a dependency that fails."""
        return self._plan.breaker

    @property
    def hedge(self) -> Hedge | None:
        """What sends a second call beside a slow one."""
        return self._plan.hedge

    def but(self, **changes: Any) -> Policy:
        """A second policy with other limits or parts, as for `reload`; all that is not named they share."""
        return self._with(replace(self._plan, **changes))

    def _with(self, plan: Plan) -> Policy:
        other = copy.copy(self)
        other._plan = plan
        return other

    # All parts in one frame, by hand: a coroutine for each would cost more than they do (decision 27). What is rare, and whatever
    # there is to decide, is in `Plan`, `Tries` and the parts, for both faces.
    async def call(  # noqa: C901, PLR0912, PLR0915
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await `fn(...)` under this policy. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        plan = self._plan
        bare, limit, timed, breaker, requests, clock, ends_in, attempt_ends_in, retries = plan.hot
        outer = get_deadline()
        begun = now = clock()
        deadline = begun + ends_in
        if outer <= deadline:  # noqa: PLR1730 - `min` costs more than all of these lines
            deadline = outer
        if bare is not None:
            if bare is not plan:
                protected: Callable[P, Awaitable[T]] = plan.around(self._with(bare).call, fn)
                return await protected(*args, **kwargs)
            # a time limit and nothing else: what follows without the parts, whose absence would cost a twelfth of it
            if deadline <= now:
                raise plan.over(begun, now, deadline, deadline, outer)
            token = set_deadline(deadline)
            try:
                call = fn(*args, **kwargs) if args or kwargs else fn()  # type: ignore[call-arg]
                if type(call) is not CoroutineType:
                    call = _awaited(call)
                results: list[T] = []
                going = kept(call, results)
                for waits in going:
                    about = (begun, now, deadline, deadline, outer)
                    await ended_by(deadline, plan.here, going, waits, plan.over, about)
            finally:
                reset_deadline(token)
            return results[0]
        if limit is not None and not limit.enter():
            with use(current().until(deadline)) as around:
                await limit.wait(plan.name, around.priority)
            now = clock()
        entered, tries = now, None
        failed: bool | None = False
        mark = set_retried(True) if retries and not get_retried() else None
        try:
            if requests is not None and (now >= requests.turn or next(requests.calls, None) is None):
                plan.deposit_in_turn(now)
            while True:
                until = deadline
                if attempt_ends_in is not None and now + attempt_ends_in < until:
                    until = now + attempt_ends_in
                if until <= now:
                    raise plan.over(begun, now, until, deadline, outer)
                window: Window | None = None
                ticket: Ticket = None
                if breaker is not None:
                    window = ticket = breaker.counting
                    if window is None or now >= window.turn:
                        ticket = breaker.admit(plan.name, now)
                token = set_deadline(until)
                try:
                    try:
                        call = fn(*args, **kwargs) if args or kwargs else fn()  # type: ignore[call-arg]
                        if type(call) is not CoroutineType:
                            call = _awaited(call)
                        results = []
                        going = kept(call, results)
                        for waits in going:  # once, and never for a call that does not wait: it needs no alarm
                            await ended_by(
                                until, plan.here, going, waits, plan.over, (begun, now, until, deadline, outer)
                            )
                    finally:
                        reset_deadline(token)
                except BaseException as error:
                    if breaker is not None:
                        breaker.failed(ticket, error, now)
                    failed = overload(error)
                    tries = tries or plan.tries(deadline, outer_layer_retries=mark is None)
                    if not await tries.again(error):
                        raise
                    now, failed = clock(), False
                else:
                    if breaker is not None:
                        if window is None or (breaker.glance is not None and clock() - now >= breaker.glance):
                            breaker.passed(ticket, results[0], now)
                        else:
                            next(window.calls)
                    return results[0]
        finally:
            if mark is not None:
                reset_retried(mark)
            if limit is not None:
                limit.leave(clock() - entered if timed else 0.0, failed)

    def call_sync(  # noqa: C901, PLR0912
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `fn(...)`, called under this policy. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        plan = self._plan
        bare, limit, timed, breaker, requests, clock, ends_in, attempt_ends_in, retries = plan.hot
        if bare is not None and bare is not plan:
            protected: Callable[P, T] = plan.around_sync(self._with(bare).call_sync, fn)
            return protected(*args, **kwargs)
        outer = get_deadline()
        begun = now = clock()
        deadline = begun + ends_in
        if outer <= deadline:  # noqa: PLR1730 - `min` costs more than all of these lines
            deadline = outer
        if limit is not None and not limit.enter():
            with use(current().until(deadline)) as around:
                limit.wait_sync(plan.name, around.priority)
            now = clock()
        entered, tries = now, None
        failed: bool | None = False
        mark = set_retried(True) if retries and not get_retried() else None
        try:
            if requests is not None and (now >= requests.turn or next(requests.calls, None) is None):
                plan.deposit_in_turn(now)
            while True:
                until = deadline
                if attempt_ends_in is not None and now + attempt_ends_in < until:
                    until = now + attempt_ends_in
                if until <= now:
                    raise plan.over(begun, now, until, deadline, outer)
                window: Window | None = None
                ticket: Ticket = None
                if breaker is not None:
                    window = ticket = breaker.counting
                    if window is None or now >= window.turn:
                        ticket = breaker.admit(plan.name, now)
                token = set_deadline(until)
                try:
                    result = plain(fn(*args, **kwargs))
                except BaseException as error:
                    reset_deadline(token)
                    if breaker is not None:
                        breaker.failed(ticket, error, now)
                    failed = overload(error)
                    tries = tries or plan.tries(deadline, outer_layer_retries=mark is None)
                    if not tries.again_sync(error):
                        raise
                    now, failed = clock(), False
                else:
                    reset_deadline(token)
                    if breaker is not None:
                        if window is None or (breaker.glance is not None and clock() - now >= breaker.glance):
                            breaker.passed(ticket, result, now)
                        else:
                            next(window.calls)
                    return result
        finally:
            if mark is not None:
                reset_retried(mark)
            if limit is not None:
                limit.leave(clock() - entered if timed else 0.0, failed)

    def reload(self, **changes: Any) -> None:
        """Change limits or parts, whatever `Policy` takes, all at once; what is not named stays.

        Calls under way keep the time limits and the retrying they began with. Of a part that is replaced by one of its kind only
        the numbers are taken: a breaker keeps its state and counts, a bulkhead those inside, a rate limit what was used, a budget
        what was deposited. Raises `ConfigurationError`, and then nothing is changed.

        Example: `payments.reload(total=3.0, breaker=CircuitBreaker(0.3))`
        """
        self.prepare(changes)()

    def prepare(self, changes: Mapping[str, Any]) -> Callable[[], None]:
        """The two halves of `reload`: check everything now; the function returned changes it and cannot fail."""
        unknown = changes.keys() - {"total", "attempt", *_PARTS}
        require(not unknown, f"{self.name}: {', '.join(sorted(unknown))} cannot be changed")
        for part in _PARTS:
            self._take_in(changes.get(part))
        replace(self._plan, **changes)

        def change() -> None:
            parts = dict(changes)
            for what in ("limit", "breaker", "rate"):
                old, new = getattr(self._plan, what), parts.get(what)
                if old is not None and new is not None and old is not new and old.adopt(new):
                    del parts[what]
            budget, retry = None if self.retry is None else self.retry.budget, parts.get("retry")
            if budget is not None and retry is not None and retry.budget is not None:
                budget.adopt(retry.budget)
                retry.budget = budget
            self._plan = replace(self._plan, **parts)
            emit(PolicyReloaded(policy=self.name, changed=", ".join(sorted(changes))))

        return change

    def _take_in(self, part: Part | None) -> None:
        if part is not None:
            part.join(self)
            require(part.clock is self.clock, f"{self.name}: {part.name} runs on another clock than the policy")

    def explain(self) -> str:
        """The parts in their order, with their numbers: one line each."""
        plan = self._plan
        total = None if plan.total is None else f"total time-out: {plan.total:g} s"
        attempt = None if plan.attempt is None else f"attempt time-out: {plan.attempt:g} s"
        inner = (plan.limit, plan.retry, plan.breaker, attempt, plan.hedge, plan.chaos)
        parts = [part for part in (plan.fallback, plan.rate, total, *inner) if part is not None]
        lines = [part if isinstance(part, str) else part.describe() for part in parts]
        numbered = [f"  {number}. {line}" for number, line in enumerate(lines, 1)]
        return "\n".join([f"{self.name}, from the outside in:", *numbered])

    def describe(self) -> str:
        """The same as `explain`."""
        return self.explain()


async def _awaited(call: Awaitable[T]) -> T:
    """Any awaitable as a coroutine."""
    return await call
