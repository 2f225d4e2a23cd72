"""A split as people look at it, and as programs do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from skerry.architecture.boundaries.backtest import Score
from skerry.architecture.boundaries.crossings import SHOWN, Crossing
from skerry.architecture.boundaries.judge import Backtest
from skerry.architecture.boundaries.proposal import Split

WIDTH: Final = 40
_CONTROL: Final = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\uffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def clean(text: str) -> str:
    """Names of a repository without what would steer a terminal."""
    return _CONTROL.sub("?", text)


def day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")


def bar(share: float, width: int = WIDTH) -> str:
    return ("#" * round(max(0.0, min(1.0, share)) * width)).ljust(width, ".")


def as_text(split: Split) -> str:
    return clean_lines(_lines(split))


def clean_lines(lines: Iterator[str]) -> str:
    return "\n".join(clean(line) for line in lines)


def _lines(split: Split) -> Iterator[str]:
    yield split.verdict
    yield ""
    yield f"as of {day(split.at)}, commit {split.head[:12]}{' (the history is not whole)' if split.shallow else ''}"
    yield from _judged(split.backtest)
    whole = sum(len(service.modules) for service in split.services)
    yield ""
    yield f"{len(split.services)} services, as even as {split.effective:.1f} of equal size:"
    for service in split.services:
        crossing = f"{service.crossing} of {service.commits} commits cross" if service.commits else "no commits"
        modules = f"{len(service.modules):5} modules {service.lines:7,} lines"
        yield f"  {service.name:20} {bar(len(service.modules) / whole, 20)} {modules}  {crossing}"
        shown = ", ".join(service.packages[:6])
        yield f"  {'':20} {shown}{f' and {len(service.packages) - 6} more' if len(service.packages) > 6 else ''}"
    yield ""
    yield f"order of extraction, the easiest first: {', '.join(split.order)}"
    yield from _cuts(split)
    figures = ", ".join(f"{name.upper()} {value:.3f}" for name, value in asdict(split.published).items())
    yield ""
    yield f"structural figures as published, for comparison only: {figures}"
    weights = ", ".join(f"{name} {weight:.0%}" for name, weight in split.weights.items() if weight)
    yield f"weights chosen by the commits of the past: {weights}"


def _judged(judged: Backtest | None) -> Iterator[str]:
    if judged is None or not judged.ours.commits:
        yield "back-test: none, the history does not reach back two years before that"
        return
    yield (
        f"back-test: learned up to {day(judged.learned)}, judged by {judged.ours.commits} commits until {day(judged.until)}; "
        "share that stays within one service"
    )
    rows: list[tuple[str, Score]] = [
        ("proposed", judged.ours),
        ("imports only", judged.imports),
        ("random merges", judged.random),
        ("your own packages", judged.packages),
        ("proposed, as fine", judged.ours_as_packages),
    ]
    for name, score in rows:
        yield f"  {name:20} {bar(score.within)} {score.within:4.0%}  at {score.services:.1f} services, kappa {score.kappa:.2f}"


def _cuts(split: Split) -> Iterator[str]:
    if split.crossings:
        yield ""
        yield f"what is cut ({split.commits} commits of the last two years touch several modules):"
    for cut in split.crossings[:SHOWN]:
        yield (
            f"  {' | '.join(cut.services):34} {cut.imports} imports, {len(cut.tables)} models, {len(cut.keys)} foreign keys, "
            f"{len(cut.transactions)} transactions, {cut.commits} commits {' '.join(sha[:8] for sha in cut.shas[:3])}".rstrip()
        )
    if split.sagas:
        yield ""
        yield f"{len(split.sagas)} transactions would become sagas:"
    for saga in split.sagas[:SHOWN]:
        steps = "; ".join(f"{name}: {', '.join(models[:4])}" for name, models in saga.models.items())
        yield f"  {saga.place} {saga.function} ({steps})"


def as_json(split: Split) -> dict[str, Any]:
    return {
        "at": day(split.at),
        "head": split.head,
        "shallow": split.shallow,
        "verdict": split.verdict,
        "services": [asdict(service) for service in split.services],
        "effective_services": round(split.effective, 3),
        "weights": dict(split.weights),
        "backtest": judged_as_json(split.backtest),
        "crossings": [_crossing(cut) for cut in split.crossings],
        "sagas": [
            {
                "place": str(saga.place),
                "function": saga.function,
                "models": {k: list(v) for k, v in saga.models.items()},
            }
            for saga in split.sagas
        ],
        "order": list(split.order),
        "metrics": {name.upper(): round(value, 4) for name, value in asdict(split.published).items()},
    }


def judged_as_json(judged: Backtest | None) -> dict[str, Any]:
    if judged is None:
        return {"commits": 0, "enough": False}
    scores = {
        "ours": judged.ours,
        "imports": judged.imports,
        "random": judged.random,
        "packages": judged.packages,
        "ours_at_packages": judged.ours_as_packages,
    }
    return {
        "learned": day(judged.learned),
        "until": day(judged.until),
        "commits": judged.ours.commits,
        "enough": judged.enough,
        **{name: {key: round(value, 4) for key, value in asdict(score).items()} for name, score in scores.items()},
    }


def _crossing(cut: Crossing) -> dict[str, Any]:
    return {
        "services": list(cut.services),
        "imports": cut.imports,
        "import_examples": list(cut.import_examples),
        "tables": list(cut.tables),
        "foreign_keys": list(cut.keys),
        "transactions": list(cut.transactions),
        "commits": cut.commits,
        "shas": list(cut.shas),
    }
