"""What a ramp has to tell: its numbers and decisions, for `skerry strangle status` and `report`, and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from skerry.gateway.strangler.shares import Owner

OVERRULED: Final = (
    "it keeps the guard and the shadow that it began with; the specification's count from the next start on"
)
"""What a ramp has to say when the specification was changed under it."""
LEFT_OUT: Final[Mapping[str, str]] = {
    "unfit": "conditional, for a part, or to be upgraded",
    "shed": "for want of room",
    "unread": "an answer was too long, or could not be had",
}
"""Why requests of the sample are not compared, in words."""
State = Literal["idle", "comparing", "ramping", "held", "rolled_back", "done"]
Verdict = Literal["start", "promote", "hold", "roll_back", "step", "hand_over", "hand_back"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side in one interval."""

    requests: int
    errors: int
    refused: int
    slow: int
    """Requests that took longer than the control's 95th percentile before."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What was counted between two looks. `at` is in seconds since the epoch, at its end; `evidence` has, by test (`errors`,
    `refused`, `latency`, `mismatches`), the e-value against the candidate so far; at `limit` it goes back.
    """

    at: float
    percent: float
    control: Side
    candidate: Side
    pairs: int
    differing: int
    evidence: Mapping[str, float]
    limit: float


@dataclass(frozen=True, slots=True)
class Decision:
    """One that changed something, or was asked for by a person (`by`), with the numbers that made it. `effective` is when every
    gateway had confirmed it, None while not.
    """

    at: float
    verdict: Verdict
    by: Literal["evidence", "guard", "person"]
    before: float
    after: float
    reason: str
    numbers: Mapping[str, float]
    effective: float | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where answers differ. Samples are redacted: (request line, control's value, candidate's value) as JSON text."""

    path: str
    pairs: int
    noise: int
    samples: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A ramp from its start on."""

    route: str
    control: str
    candidate: str
    steps: tuple[float, ...]
    state: State
    percent: float
    owner: Owner
    needs: str
    """What it waits for, as a sentence: `about 1,800 more requests at 5 %`; empty when nothing."""
    intervals: tuple[Interval, ...] = ()
    decisions: tuple[Decision, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    note: str = ""
    """What else is to be known of it; empty when nothing."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Requests of the sample that were not compared, by why: see `LEFT_OUT`."""
