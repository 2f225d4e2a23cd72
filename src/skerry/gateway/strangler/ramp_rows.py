"""What a ramp is in the database, and as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from skerry.gateway.model import GuardSpec, Shadow, Strangle
from skerry.gateway.strangler import weighing
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.report import Interval, Side, State, Verdict
from skerry.gateway.strangler.shares import Owner, Share
from skerry.gateway.strangler.weighing import Evidence

COMPARED: Final = frozenset({"comparing", "ramping", "held"})
"""States in which a route is counted, and compared."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS version (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO version VALUES (1, 0);
CREATE TABLE IF NOT EXISTS ramps (
    id INTEGER PRIMARY KEY, route TEXT NOT NULL, plan TEXT NOT NULL, state TEXT NOT NULL, percent REAL NOT NULL,
    owner TEXT NOT NULL,
    owned REAL NOT NULL DEFAULT 0, before TEXT NOT NULL DEFAULT 'control',
    gone INTEGER NOT NULL DEFAULT 0, needs TEXT NOT NULL DEFAULT '', since REAL NOT NULL,
    evidence TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS ramps_of_route ON ramps (route, id);
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, ramp INTEGER NOT NULL REFERENCES ramps (id) ON DELETE CASCADE, version INTEGER NOT NULL,
    at REAL NOT NULL, verdict TEXT NOT NULL, by TEXT NOT NULL, before REAL NOT NULL, after REAL NOT NULL,
    reason TEXT NOT NULL, numbers TEXT NOT NULL, effective REAL);
CREATE INDEX IF NOT EXISTS decisions_of_ramp ON decisions (ramp, id);
CREATE TABLE IF NOT EXISTS intervals (
    id INTEGER PRIMARY KEY, ramp INTEGER NOT NULL REFERENCES ramps (id) ON DELETE CASCADE, told TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS intervals_of_ramp ON intervals (ramp, id);
CREATE TABLE IF NOT EXISTS seen (
    process TEXT NOT NULL, route TEXT NOT NULL, sums TEXT NOT NULL, PRIMARY KEY (process, route)) WITHOUT ROWID;
"""
SELECT: Final = "SELECT id, route, plan, state, percent, owner, gone, needs, since, evidence FROM ramps"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a plan, so that a ramp can be told of without its specification.

    A ramp is judged to its end by the `guard` that it began with, and by whether it was to be `compared`: who could change them
    on the way, after a look at the evidence, could have any verdict, and alpha would bound nothing. `overruled`: the
    specification says otherwise by now, which counts from the next start on.
    """

    control: str
    candidate: str
    steps: tuple[float, ...]
    limit: float
    guard: GuardSpec
    compared: bool
    overruled: bool = False

    @classmethod
    def of(cls, plan: Strangle) -> Kept:
        """At the beginning of a ramp."""
        compared = plan.shadow is not None
        return cls(plan.control, plan.candidate, plan.steps, weighing.limit(plan), plan.guard, compared)

    def follow(self, plan: Strangle) -> Kept:
        """After the specification was read again."""
        overruled = plan.guard != self.guard or (plan.shadow is not None) != self.compared
        return replace(self, control=plan.control, candidate=plan.candidate, steps=plan.steps, overruled=overruled)

    def judging(self, plan: Strangle) -> Strangle:
        """The plan of the specification as it counts for this ramp."""
        shadow = (plan.shadow or Shadow()) if self.compared else None
        return replace(plan, guard=self.guard, shadow=shadow)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A route's latest ramp. `gone`: the specification does not have it any more, or has other services for it. `since` is when
    it got where it is, in seconds since the epoch.
    """

    id: int
    route: str
    plan: Kept
    place: Place
    gone: bool
    needs: str
    since: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Change:
    """A decision to be recorded, and where the ramp is after it."""

    verdict: Verdict
    by: Literal["evidence", "guard", "person"]
    to: Place
    reason: str
    numbers: Mapping[str, float]


def ramp_of(row: tuple[Any, ...]) -> Ramp:
    """Of a row that `SELECT` found."""
    number, route, plan, state, percent, owner, gone, needs, since, found = row
    told = json.loads(plan)
    return Ramp(
        id=number,
        route=route,
        plan=Kept(**{**told, "steps": tuple(told["steps"]), "guard": GuardSpec(**told["guard"])}),
        place=Place(cast("State", state), percent, cast("Owner", owner)),
        gone=bool(gone),
        needs=needs,
        since=since,
        evidence=weighing.from_json(json.loads(found)),
    )


def share_of(ramp: Ramp) -> Share:
    """What gateways are told of it."""
    place, plan = ramp.place, ramp.plan
    return Share(place.percent, place.state in COMPARED, place.owner, plan.control, plan.candidate)


def interval_of(told: dict[str, Any]) -> Interval:
    """What was kept of it."""
    sides = {side: Side(**told[side]) for side in ("control", "candidate")}
    return Interval(**{**told, **sides})


def merged(a: Interval, b: Interval) -> Interval:
    """Two that follow each other as one."""
    return replace(
        b,
        control=weighing.added(a.control, b.control),
        candidate=weighing.added(a.candidate, b.candidate),
        pairs=a.pairs + b.pairs,
        differing=a.differing + b.differing,
    )
