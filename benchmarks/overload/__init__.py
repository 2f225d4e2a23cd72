"""A chain client-A-B-C whose end is the bottleneck, when three times as much is asked for ten seconds: what is answered then,
how soon all is well again, and how many calls each request becomes. Naive is three attempts a hop.

`--only virtual` leaves out the real processes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from benchmarks.overload import http, virtual
from benchmarks.overload.load import HTTP_WORK, HTTP_WORKERS, Outcome, Scenario
from benchmarks.report import Report

SEEDS = 3
"""Runs in virtual time, each with arrivals of its own."""
HTTP = Scenario(HTTP_WORKERS / HTTP_WORK, before=6, after=12)

Figure = tuple[str, str, Callable[[Outcome], float]]
FIGURES: list[Figure] = [
    ("goodput in the spike", "of capacity", lambda outcome: outcome.in_the_spike),
    ("recovery", "s", lambda outcome: outcome.recovery),
    ("answered in the end", "of asked", lambda outcome: outcome.in_the_end),
    ("calls to C", "a request", lambda outcome: outcome.amplification),
]


def run(*, rounds: int, only: str = "") -> dict[str, Any]:
    report = Report("overload", ["httpx2", "uvicorn"])
    for base in (0.7, 0.85):
        where = f"virtual time, {base:.0%} base load"
        _virtual(report, where, Scenario(virtual.CAPACITY, base))
        _judge(report, where, goodput=0.9, recovery=3.0)
    if only != "virtual":
        for where, burners in (("HTTP", 0), ("HTTP, cores burdened", 2)):
            _over_http(report, where, "naive", seed=0, burners=burners)
            for number in range(rounds):
                _over_http(report, where, "ours", seed=number, burners=burners)
            _judge(report, where, goodput=0.8, recovery=5.0)
    report.notes.append(
        "a recovery as long as the time that was watched after the spike, 20 s or 12 s over HTTP, is none"
    )
    return report.document()


def _virtual(report: Report, where: str, scenario: Scenario) -> None:
    gc.disable()  # naive piles up a hundred thousand tasks that all live: looking through them takes most of the time
    try:
        _note(report, where, "naive", virtual.run_chain("naive", scenario, seed=0))
    finally:
        gc.enable()
    for seed in range(SEEDS):
        _note(report, where, "ours", virtual.run_chain("ours", scenario, seed=seed))


def _over_http(report: Report, where: str, who: str, *, seed: int, burners: int) -> None:
    outcome, discarded = http.fair_chain(who, HTTP, seed=seed, burners=burners)
    if discarded or not outcome.fair:
        state = "fair" if outcome.fair else "no fair one either"
        report.notes.append(
            f"{where}, {who}: {discarded} rounds thrown away, for the machine was measured; the last is {state}"
        )
    _note(report, where, who, outcome)


def _note(report: Report, where: str, who: str, outcome: Outcome) -> None:
    for what, unit, value in FIGURES:
        report.add(f"{where}: {what}", who, value(outcome), unit)


def _judge(report: Report, where: str, *, goodput: float, recovery: float) -> None:
    """By the worst round, not the median: an overload comes once."""

    def of(what: str, who: str = "ours") -> list[float]:
        return report.samples[f"{where}: {what}"][who]

    report.bar(f"{where}: worst goodput in the spike", min(of("goodput in the spike")), ">=", goodput)
    report.bar(f"{where}: worst recovery, s", max(of("recovery")), "<=", recovery)
    report.bar(f"{where}: most calls to C a request", max(of("calls to C")), "<=", 1.2)
    report.bar(f"{where}: naive stays down, answered in the end", max(of("answered in the end", "naive")), "<=", 0.05)
