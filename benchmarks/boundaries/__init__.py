"""Proposed services before the two years of commits that followed: `--repo PATH` (several), `--at DATE` (several).

Learning ends at each moment, judging is by what came in the two years after; compared at an effective count of six.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from skerry.architecture.boundaries.backtest import ENOUGH, Score, test_commits
from skerry.architecture.boundaries.judge import Backtest, judge, placed
from skerry.architecture.boundaries.learn import read
from skerry.architecture.boundaries.signals import YEAR
from skerry.architecture.source.git import history

MOMENTS = ("2022-07-01", "2024-07-01")
SERVICES = 6.0


def run(*, rounds: int, repos: Sequence[str] = (), moments: Sequence[str] = (), only: str = "") -> dict[str, Any]:  # noqa: ARG001
    report = Report("boundaries", [])
    judged: list[Backtest] = []
    losses: list[float] = []
    for repo in repos:
        for moment in moments or MOMENTS:
            where = f"{_name(repo)} {moment}"
            at = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
            begun = time.perf_counter()
            known = read(Path(repo), at)
            known.learned(SERVICES).best(SERVICES)
            report.add(f"{where}: learning", "ours", time.perf_counter() - begun, "s")
            later = history(Path(repo), at, until=at + 2.0 * YEAR).commits
            result = judge(known, later, at + 2.0 * YEAR, SERVICES)
            if not result.enough:
                report.notes.append(f"{where}: {result.ours.commits} test commits, {ENOUGH} would be enough: left out")
                continue
            bare = known.learned(SERVICES, with_history=False)
            tests = test_commits(later, known.modules)
            static = placed(bare, bare.best(SERVICES).stages, tests, SERVICES)
            _tell(report, where, result, static)
            judged.append(result)
            losses.append(result.ours.within - static.within)
    if judged:
        _bars(report, judged, losses)
    return report.document()


def _name(repo: str) -> str:
    path = Path(repo).resolve()
    return path.parent.name if path.name in {"repo", "repo.git", ".git"} else path.name


def _tell(report: Report, where: str, result: Backtest, static: Score) -> None:
    metric = f"{where}: within at {SERVICES:g}"
    for who, score in (
        ("ours", result.ours),
        ("without history", static),
        ("imports only", result.imports),
        ("random", result.random),
    ):
        report.add(metric, who, score.within, "of commits")
    report.add(f"{where}: kappa at {SERVICES:g}", "ours", result.ours.kappa, "")
    packages = f"{where}: within at {result.packages.services:.1f}"
    report.add(packages, "ours", result.ours_as_packages.within, "of commits")
    report.add(packages, "the team's packages", result.packages.within, "of commits")
    report.add(f"{where}: services a commit touches", "ours", result.ours.touched, "")
    report.add(f"{where}: test commits", "ours", result.ours.commits, "")


def _bars(report: Report, judged: Sequence[Backtest], losses: Sequence[float]) -> None:
    count = len(judged)
    report.bar("mean within", statistics.fmean(each.ours.within for each in judged), ">=", 0.56)
    report.bar("mean kappa", statistics.fmean(each.ours.kappa for each in judged), ">=", 0.51)
    report.bar("windows better than random", sum(e.ours.within > e.random.within for e in judged), ">=", count)
    most = round(0.75 * count)
    report.bar("windows better than imports", sum(e.ours.within > e.imports.within for e in judged), ">=", most)
    better = sum(each.ours_as_packages.within > each.packages.within for each in judged)
    report.bar("windows better than the team's packages", better, ">=", most)
    report.bar("mean loss without history", statistics.fmean(losses), "<=", 0.03)
    slowest = max(figures["ours"][0] for metric, figures in report.samples.items() if metric.endswith("learning"))
    report.bar("longest learning, s", slowest, "<=", 30.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.bar("memory, MiB", peak, "<=", 1024.0)
