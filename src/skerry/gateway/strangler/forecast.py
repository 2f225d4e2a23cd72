"""What a ramp would take: how many requests each step needs, and how long they take to come, if nothing fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from skerry.gateway.model import Strangle
from skerry.gateway.strangler import evidence, weighing
from skerry.gateway.strangler.deciding import LOOKS

LONG: Final = 24 * 3600.0
"""Seconds after which a step is told to be too long."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`count` requests or pairs (`unit`) at `percent`, for as long as these take to come; `decided_by` is what takes longest."""

    percent: float
    count: int
    unit: str
    seconds: float
    decided_by: str
    warning: str


def forecast(plan: Strangle, *, rate: float) -> tuple[Stage, ...]:
    """The stages of a ramp on a route with `rate` requests a second, none of which fails or differs."""
    sample = plan.shadow.sample if plan.shadow is not None else 0.0
    stages: list[Stage] = []
    requests = pairs = 0.0
    places = ([0.0] if plan.shadow is not None else []) + list(plan.steps)
    for at, percent in enumerate(places):
        following = places[at + 1] if at + 1 < len(places) else None
        more = _more(plan, following, requests, pairs) if following is not None else {}
        waits = {"intervals": LOOKS * plan.guard.interval}
        counts = {"intervals": LOOKS}
        share = percent / 100
        if percent:
            counts["enough"] = plan.guard.enough
            waits["enough"] = plan.guard.enough / (rate * share)
        for what, count in more.items():
            coming = rate * (sample if what == "mismatches" else share)
            if what == "mismatches" or percent:
                counts[what], waits[what] = count, count / coming if coming else float("inf")
        longest = max(waits, key=lambda what: waits[what])
        seconds = waits[longest]
        unit = {"mismatches": "pairs", "intervals": "intervals"}.get(longest, "requests")
        warning = (
            "" if seconds <= LONG else f"at this rate {longest} take longer than a day: widen the margin or the sample"
        )
        stages.append(Stage(percent, counts[longest], unit, seconds, longest, warning))
        requests += seconds * rate * share
        pairs += seconds * rate * sample
    return tuple(stages)


def _more(plan: Strangle, percent: float, requests: float, pairs: float) -> dict[str, int]:
    """What a step to `percent` still needs to be shown, after so many without a failure."""
    found: dict[str, int] = {}
    for what, margin in weighing.margins(plan, percent).items():
        count = evidence.wanted(
            evidence.fresh(evidence.LESS),
            rate=weighing.TAIL if what == "latency" else 0.0,
            control_rate=weighing.TAIL if what == "latency" else 0.0,
            ratio=(100 - percent) / percent if percent < 100 else 1.0,
            margin=margin,
            limit=weighing.enough_shown(plan),
        )
        had = pairs if what == "mismatches" else requests
        found[what] = max(0, (count or 0) - int(had))
    return found
