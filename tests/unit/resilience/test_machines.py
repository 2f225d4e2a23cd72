"""The state machines of breaker, bulkhead and budget, driven at random beside a model that is slow and plain."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from skerry.errors import BulkheadFull, CircuitOpen
from skerry.resilience import Bulkhead, CircuitBreaker, RetryBudget
from skerry.resilience._window import SLICES
from skerry.testing import VirtualClock

LIMITS = settings(max_examples=60, stateful_step_count=40, deadline=None)
STEPS = st.sampled_from([0.1, 0.5, 1.0, 2.5, 5.0, 11.0])


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order while time passes; the model keeps every result with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.breaker = CircuitBreaker(0.5, window=10.0, min_calls=4, open_for=5.0, probes=2, clock=self.clock)
        self.running: list[tuple[object, int, float]] = []
        self.epoch = 0
        self.results: list[tuple[int, bool]] = []
        self.probes: list[float] = []
        self.probed = 0
        self.state, self.since = "closed", 0.0

    def enter(self, state: str) -> None:
        self.state, self.since, self.epoch = state, self.clock.monotonic(), self.epoch + 1
        self.results, self.probes, self.probed = [], [], 0

    def slice(self) -> int:
        return int(self.clock.monotonic() / (10.0 / SLICES))

    @rule()
    def begin(self) -> None:
        now = self.clock.monotonic()
        if self.state == "open" and now - self.since >= 5.0:
            self.enter("half_open")
        refused = self.state == "open"
        if self.state == "half_open":
            self.probes = [since for since in self.probes if now - since < 5.0]
            refused = len(self.probes) + self.probed >= 2
        try:
            ticket = self.breaker.admit("test", now)
        except CircuitOpen:
            assert refused
            return
        assert not refused
        if self.state == "half_open":
            self.probes.append(now)
        self.running.append((ticket, self.epoch, now))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), failed=st.booleans(), cancelled=st.booleans())
    def end(self, which: int, failed: bool, cancelled: bool) -> None:  # noqa: C901 - a model is all of it
        ticket, epoch, since = self.running.pop(which % len(self.running))
        if cancelled:
            self.breaker.failed(ticket, KeyboardInterrupt(), since)
        elif failed:
            self.breaker.failed(ticket, OSError(), since)
        else:
            self.breaker.passed(ticket, None, since)
        if epoch != self.epoch:
            return
        if self.state == "half_open":
            if since not in self.probes:
                return
            self.probes.remove(since)
            if not cancelled and failed:
                self.enter("open")
            elif not cancelled:
                self.probed += 1
                if self.probed == 2:
                    self.enter("closed")
        elif self.state == "closed" and not cancelled:
            self.results.append((self.slice(), failed))
            recent = [bad for at, bad in self.results if at > self.slice() - SLICES]
            if failed and len(recent) >= 4 and sum(recent) >= 0.5 * len(recent):
                self.enter("open")

    @rule(seconds=STEPS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def close(self) -> None:
        self.breaker.close()
        self.enter("closed")

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state == self.state


class BulkheadMachine(RuleBasedStateMachine):
    """Calls come and go and the size changes; nobody waits here, so the model is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.bulkhead = Bulkhead(3, queue=0, clock=VirtualClock())
        self.size, self.inside = 3, 0

    @rule()
    def enter(self) -> None:
        try:
            self.bulkhead.slot().__enter__()
        except BulkheadFull:
            assert self.inside >= self.size
        else:
            assert self.inside < self.size
            self.inside += 1

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        self.bulkhead.leave()
        self.inside -= 1

    @rule(size=st.integers(1, 6))
    def resize(self, size: int) -> None:
        self.bulkhead.adopt(Bulkhead(size, queue=0))
        self.size = size

    @invariant()
    def agrees(self) -> None:
        assert (self.bulkhead.active, self.bulkhead.waiting) == (self.inside, 0)


class BudgetMachine(RuleBasedStateMachine):
    """Requests and shares in any order while time passes; the model keeps them all with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.budget = RetryBudget(0.5, min_per_second=0.1, window=10.0)
        self.requests: list[int] = []
        self.used: list[int] = []
        self.waiting = 0

    def slice(self) -> int:
        return math.floor(self.clock.monotonic() / (10.0 / SLICES))

    def recent(self, slices: list[int]) -> int:
        return sum(at > self.slice() - SLICES for at in slices)

    @rule(times=st.integers(1, 10))
    def deposit(self, times: int) -> None:
        for _ in range(times):
            self.budget.deposit(self.clock.monotonic())
            self.requests.append(self.slice())

    @rule()
    def withdraw(self) -> None:
        allowed = 0.5 * self.recent(self.requests) + 1.0
        granted = self.recent(self.used) + self.waiting + 1 <= allowed
        assert self.budget.withdraw(self.clock.monotonic()) is granted
        self.waiting += granted

    @precondition(lambda self: self.waiting)
    @rule(used=st.booleans())
    def settle(self, used: bool) -> None:
        self.budget.settle(self.clock.monotonic(), used=used)
        self.waiting -= 1
        if used:
            self.used.append(self.slice())

    @rule(seconds=STEPS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


TestBreaker = BreakerMachine.TestCase
TestBulkhead = BulkheadMachine.TestCase
TestBudget = BudgetMachine.TestCase
TestBreaker.settings = TestBulkhead.settings = TestBudget.settings = LIMITS
