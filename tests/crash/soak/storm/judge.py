"""The judge: reads a history and says which rules it breaks.

Safety rules are broken for ever; those of liveness are only UNKNOWN to be kept in a history without an `end` line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .delivery_rules import DELIVERY_RULES, Deliveries
from .lines import read
from .saga_rules import SAGA_RULES, Story

Line = dict[str, Any]
LIVENESS = frozenset({"D1", "D3 gap", "L1", "S2"})
FIELDS: dict[str, tuple[str, ...]] = {
    "publish_ok": ("event_id", "aggregate", "seq"),
    "publish_fail": ("event_id",),
    "publish_unknown": ("event_id",),
    "consumer": ("consumer",),
    "handled": ("event_id", "consumer"),
    "dead": ("event_id", "consumer"),
    "effect": ("key", "consumer", "event_id"),
    "saga_started": ("saga", "steps"),
    "saga_start_unknown": ("saga",),
    "step_called": ("saga", "step"),
    "step_effect": ("saga", "step"),
    "comp_called": ("saga", "step"),
    "comp_effect": ("saga", "step"),
    "saga_ended": ("saga", "status"),
    "balance": ("phase", "account", "amount"),
    "external": ("amount",),
    "fault": ("name",),
    "end": (),
}


class UnusableHistory(ValueError):
    """A line is not of the format."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule and where."""

    rule: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """`unknown` holds what would be a violation if the history had an end."""

    violations: list[Violation] = field(default_factory=list)
    unknown: list[Violation] = field(default_factory=list)
    ended: bool = False

    @property
    def word(self) -> str:
        """VALID, INVALID or UNKNOWN."""
        if self.violations:
            return "INVALID"
        return "UNKNOWN" if self.unknown or not self.ended else "VALID"

    def rules(self) -> set[str]:
        """The rules that are broken."""
        return {violation.rule for violation in self.violations}


def judge(history: Iterable[Line]) -> Verdict:
    """Apply all rules. Raises `UnusableHistory`."""
    lines = sorted(history, key=lambda line: line.get("t", 0.0))
    for line in lines:
        _demand_format(line)
    verdict = Verdict(ended=any(line["kind"] == "end" for line in lines))
    for rule, detail in _all(lines):
        target = verdict.violations if verdict.ended or rule not in LIVENESS else verdict.unknown
        target.append(Violation(rule.partition(" ")[0], detail))
    return verdict


def _demand_format(line: Line) -> None:
    kind = line.get("kind")
    if kind not in FIELDS or not isinstance(line.get("t"), int | float):
        raise UnusableHistory(f"an unknown kind or no time: {str(line)[:100]}")
    missing = [name for name in FIELDS[kind] if line.get(name) is None]
    if missing:
        raise UnusableHistory(f"{kind} lacks {missing[0]}: {str(line)[:100]}")


def _all(lines: list[Line]) -> Iterator[tuple[str, str]]:
    deliveries = Deliveries(lines)
    for rule, check in DELIVERY_RULES.items():
        yield from ((rule, detail) for detail in check(deliveries))
    stories: dict[str, Story] = {}
    for line in lines:
        if "saga" in line:
            stories.setdefault(line["saga"], Story(line["saga"])).add(line)
    for rule, broken in SAGA_RULES.items():
        for story in stories.values():
            yield from ((rule, f"{story.saga}: {detail}") for detail in broken(story))
    yield from (("M1", detail) for detail in _money(lines))


def _money(lines: list[Line]) -> Iterator[str]:
    """No money appears or disappears."""
    balances = [line for line in lines if line["kind"] == "balance"]
    start = sum(line["amount"] for line in balances if line["phase"] == "start")
    end = sum(line["amount"] for line in balances if line["phase"] == "end")
    external = sum(line["amount"] for line in lines if line["kind"] == "external")
    if any(line["phase"] == "end" for line in balances) and end != start + external:
        yield f"{start} at the start and {external} from outside, but {end} at the end"


def main(path: Path) -> int:
    """Judge a file: 0 valid, 1 invalid, 2 unknown."""
    verdict = judge(read(path))
    for violation in [*verdict.violations, *verdict.unknown]:
        sys.stdout.write(f"{violation.rule} {violation.detail}\n")
    sys.stdout.write(f"{verdict.word}\n")
    return {"VALID": 0, "INVALID": 1, "UNKNOWN": 2}[verdict.word]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
