"""Ramps that are drawn and ramps that are run: how often a good candidate is taken back, how soon a bad one, and how quickly.

The drawn ones go through the deciding code that the controller calls, on a virtual clock, with refusals, slow requests and
pairs beside the failures; peers are the rules that others come with, on the same draws. `--only simulated` leaves out the
real gateways.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.report import Report
from benchmarks.strangler.rolled_back import measure
from benchmarks.strangler.simulated import End, World, decisions, many

AS_GOOD = (
    World(0.001, 0.001, 20, interval=60, hours=0.75),
    World(0.008, 0.008, 20, interval=60, hours=0.75),
    World(0.008, 0.008, 200, interval=30, hours=0.5),
    World(0.03, 0.03, 20, interval=60, hours=0.75),
    World(0.03, 0.03, 200, interval=30, hours=0.5),
)
EACH = 2_000
BUNCHED = (World(0.008, 0.008, 20, bunch=10, apart=True), World(0.03, 0.03, 200, bunch=10, apart=True, hours=0.25))
LATE = (World(0.001, 0.05, 200, hours=3, turns=0.25), World(0.008, 0.05, 200, hours=3, turns=0.5))
BUNCHED_RAMPS, PEERS, THROUGH, BROKEN = 100, 400, 60, 400
ALPHA = 0.01
BAD_ANSWERS, EFFECT = 10.0, 100.0


def run(*, rounds: int, only: str = "") -> dict[str, Any]:
    report = Report("strangler", [])
    with ProcessPoolExecutor() as pool:
        _as_good(report, pool)
        _broken(report, pool)
        _late(report, pool)
        _through(report, pool)
        _bunched(report, pool)
    _decide(report)
    if only != "simulated":
        for engine in ("embedded", "envoy"):
            _roll_back(report, engine, rounds)
    return report.document()


def _as_good(report: Report, pool: ProcessPoolExecutor) -> None:
    """Candidates exactly as good as the control: none is to go back."""
    back = 0
    for world in AS_GOOD:
        where = f"as good, {world.control:.1%}, {world.rate:g}/s: taken back"
        ends = many("ours", world, range(EACH), pool)
        back += sum(end.state == "back" for end in ends)
        report.add(where, "ours", _share(ends, "back"), "of ramps")
        for who in ("fixed thresholds", "peeking z-test"):
            report.add(where, who, _share(many(who, world, range(PEERS), pool), "back"), "of ramps")
    report.bar(f"as good, {EACH * len(AS_GOOD):,} ramps: taken back", back / EACH / len(AS_GOOD), "<=", ALPHA)


def _broken(report: Report, pool: ProcessPoolExecutor) -> None:
    world = World(0.001, 0.05, 20)
    ends = many("ours", world, range(BROKEN), pool)
    where = "0.1 % to 5 %, 20/s"
    bad = sorted(end.bad for end in ends)
    report.add(f"{where}: taken back", "ours", _share(ends, "back"), "of ramps")
    report.add(f"{where}: bad answers, median", "ours", statistics.median(bad), "answers")
    report.add(f"{where}: bad answers, p95", "ours", bad[int(0.95 * len(bad))], "answers")
    report.add(f"{where}: after", "ours", statistics.median(end.seconds for end in ends), "s")
    # the peers look every 30 s, as they are set up; ours as its default is
    for who in ("fixed thresholds", "peeking z-test"):
        others = many(who, World(0.001, 0.05, 20, interval=30), range(BROKEN), pool)
        report.add(f"{where}: taken back", who, _share(others, "back"), "of ramps")
        report.add(f"{where}: bad answers, median", who, statistics.median(end.bad for end in others), "answers")
        report.add(f"{where}: bad answers, p95", who, sorted(end.bad for end in others)[int(0.95 * BROKEN)], "answers")
        report.add(f"{where}: after", who, statistics.median(end.seconds for end in others), "s")
    report.bar(f"{where}: taken back", _share(ends, "back"), ">=", 1.0)
    report.bar(f"{where}: bad answers, p95 of {BROKEN} ramps", bad[int(0.95 * len(bad))], "<=", BAD_ANSWERS)


def _late(report: Report, pool: ProcessPoolExecutor) -> None:
    """Candidates that break once they have a share: the more they have, the less an interval says. Told, without a bar."""
    for world in LATE:
        where = f"{world.control:.1%} to {world.candidate:.0%} at {world.turns:.0%}, {world.rate:g}/s"
        ends = many("ours", world, range(THROUGH), pool)
        report.add(f"{where}: taken back", "ours", _share(ends, "back"), "of ramps")
        report.add(f"{where}: bad answers, median", "ours", statistics.median(end.bad for end in ends), "answers")
        report.add(f"{where}: after", "ours", statistics.median(end.seconds for end in ends), "s")


def _through(report: Report, pool: ProcessPoolExecutor) -> None:
    """How long good candidates take to 100 %, with all defaults."""
    for world in (
        World(0.001, 0.001, 20, hours=6),
        World(0.001, 0.001, 200, hours=3),
        World(0.008, 0.008, 200, hours=3),
    ):
        ends = many("ours", world, range(THROUGH), pool)
        where = f"as good, {world.control:.1%}, {world.rate:g}/s"
        report.add(f"{where}: at 100 % in {world.hours:g} h", "ours", _share(ends, "done"), "of ramps")
        done = [end.seconds / 60 for end in ends if end.state == "done"]
        if done:
            report.add(f"{where}: to 100 %", "ours", statistics.median(done), "min")


def _bunched(report: Report, pool: ProcessPoolExecutor) -> None:
    """Failures by tens, each ten on one side: what no test for single failures allows for. Told, without a bar."""
    for world in BUNCHED:
        where = f"as good, {world.control:.1%} by tens, {world.rate:g}/s: taken back"
        ends = many("ours", world, range(BUNCHED_RAMPS), pool)
        report.add(
            where, "ours", sum(end.by == "evidence" and end.state == "back" for end in ends) / len(ends), "of ramps"
        )
        report.add(f"{where} by the guard", "ours", sum(end.by == "guard" for end in ends) / len(ends), "of ramps")
        for who in ("fixed thresholds", "peeking z-test"):
            report.add(where, who, _share(many(who, world, range(BUNCHED_RAMPS), pool), "back"), "of ramps")


def _decide(report: Report) -> None:
    taken = []
    for decide in decisions(500):
        began = time.perf_counter()
        decide()
        taken.append((time.perf_counter() - began) * 1e6)
    report.add("one decision", "ours", statistics.median(taken), "us")


def _roll_back(report: Report, engine: str, rounds: int) -> None:
    taken, done, lost = measure(engine, max(5, 4 * rounds))
    for each in taken:
        report.add(f"a roll-back takes effect, {engine}", "ours", each, "ms")
    report.add(f"requests meanwhile, {engine}", "ours", done, "requests")
    report.add(f"failed meanwhile, {engine}", "ours", lost, "requests")
    report.bar(f"a roll-back takes effect, {engine}, longest of {len(taken)}", max(taken), "<=", EFFECT)
    report.bar(f"failed meanwhile, {engine}", lost, "<=", 0)


def _share(ends: Sequence[End], state: str) -> float:
    return sum(end.state == state for end in ends) / len(ends)
