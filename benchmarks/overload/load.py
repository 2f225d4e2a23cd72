"""What is sent to the chain, and how what came back is judged: the same for virtual time and for real processes."""

from __future__ import annotations

from dataclasses import dataclass, field

SPIKE = 10
"""Seconds of three times the base load."""
PATIENCE = 1.0
"""Seconds after which whoever asked has left."""
HTTP_WORKERS, HTTP_WORK = 4, 0.1
"""As a process C does so many things at once, each in so many seconds: little, for the processor is shared with all others."""
HEALTHY = 0.95
"""Of the requests of a second answered in time: then that second was well."""
FAIR_BEFORE, FAIR_LATE = 0.97, 1.0
"""Answered before the spike at least, and seconds by which requests are sent too late at most: else the machine was measured."""


@dataclass(frozen=True)
class Scenario:
    """`capacity` is what C can do, in requests a second; `base` the share of it that is asked for outside the spike, which
    is for `before` and `after` seconds.
    """

    capacity: float
    base: float = 0.7
    before: int = 10
    after: int = 20

    @property
    def seconds(self) -> int:
        return self.before + SPIKE + self.after

    def rate(self, at: float) -> float:
        """Requests a second, `at` seconds after the beginning."""
        usual = self.capacity * self.base
        return 3 * usual if self.before <= at < self.before + SPIKE else usual


@dataclass
class Outcome:
    """What became of the requests, by the second in which each was sent."""

    scenario: Scenario
    asked: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    reached: list[int] = field(default_factory=list)
    """Calls that reached C, by the second in which they did."""
    late: float = 0.0
    """Seconds by which requests were sent too late at most."""

    def __post_init__(self) -> None:
        for counts in (self.asked, self.answered, self.reached):
            counts.extend([0] * (self.scenario.seconds + 5))

    def note(self, at: float, *, ok: bool) -> None:
        self.asked[int(at)] += 1
        self.answered[int(at)] += ok

    @property
    def fair(self) -> bool:
        """Whether it tells of the chain: it was well before the spike, and the spike was one."""
        return self.before >= FAIR_BEFORE and self.late <= FAIR_LATE

    @property
    def before(self) -> float:
        """Share answered once warm, before the spike."""
        return self._share(2, self.scenario.before)

    @property
    def in_the_spike(self) -> float:
        """Answered in time during the spike, as a share of what C could do."""
        first = self.scenario.before
        return sum(self.answered[first : first + SPIKE]) / (SPIKE * self.scenario.capacity)

    @property
    def in_the_end(self) -> float:
        """Share answered in the last five seconds."""
        return self._share(self.scenario.seconds - 5, self.scenario.seconds)

    @property
    def recovery(self) -> float:
        """Seconds from the spike's end until three seconds in a row are well; the whole time after it when none are."""
        end = self.scenario.before + SPIKE
        for second in range(end, self.scenario.seconds - 2):
            if all(self._share(each, each + 1) >= HEALTHY for each in range(second, second + 3)):
                return float(second - end)
        return float(self.scenario.after)

    @property
    def amplification(self) -> float:
        """Calls that reached C for each request, in the spike and after it."""
        first = self.scenario.before
        return sum(self.reached[first:]) / max(1, sum(self.asked[first:]))

    def _share(self, first: int, last: int) -> float:
        return sum(self.answered[first:last]) / max(1, sum(self.asked[first:last]))
