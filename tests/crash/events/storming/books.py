"""The books: what was committed, from the publishers' database; what was handled, from the consumers'; and the comparison."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "soak"))

from storm.judge import judge as judge_history

OFFICIAL = Path(__file__).parents[5] / "shared" / "judges" / "history_check.py"

Line = dict[str, Any]
Effect = tuple[str, int, float]
"""Counter, number, and when; in the order in which they were written."""


def lines(path: Path) -> list[Line]:
    """What processes wrote down; a kill can cut no line, each was one write."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True, slots=True)
class Comparison:
    """Over all groups."""

    lost: int
    reordered: int
    twice: int
    invented: int
    forgotten: int
    """Acknowledged to the publisher and not in its database: the database's fault."""


def compare(
    committed: dict[str, int], acknowledged: Iterable[tuple[str, int]], handled: dict[str, Sequence[Effect]]
) -> Comparison:
    """A counter at n means that its events 1 to n were committed."""
    lost = reordered = twice = invented = 0
    for effects in handled.values():
        numbers: dict[str, list[int]] = {key: [] for key in committed}
        for counter, n, _ in effects:
            numbers.setdefault(counter, []).append(n)
        for key, found in numbers.items():
            wanted = set(range(1, committed.get(key, 0) + 1))
            lost += len(wanted - set(found))
            invented += len(set(found) - wanted)
            twice += len(found) - len(set(found))
            reordered += sum(after < before for before, after in pairwise(found))
    forgotten = sum(n > committed.get(counter, 0) for counter, n in acknowledged)
    return Comparison(lost, reordered, twice, invented, forgotten)


def history(
    committed: dict[str, int],
    acknowledged: dict[tuple[str, int], float],
    handled: dict[str, Sequence[Effect]],
    faults: Iterable[Line],
    *,
    begun: float,
    ended: float,
) -> list[Line]:
    """All of it as the judges want it. What is in the publishers' database counts as published, acknowledged or not."""
    events = {(key, n) for key, count in committed.items() for n in range(1, count + 1)} | acknowledged.keys()
    found: list[Line] = []
    for key, n in sorted(events):
        at = acknowledged.get((key, n), begun)
        found.append({"t": at, "kind": "publish_ok", "event_id": f"{key}:{n}", "aggregate": key, "seq": n})
    for group, effects in handled.items():
        found.append({"t": begun, "kind": "consumer", "consumer": group})
        for counter, n, at in effects:
            event = f"{counter}:{n}"
            same = {"t": at, "consumer": group, "event_id": event, "aggregate": counter, "seq": n}
            found += [{"kind": "handled", **same}, {"kind": "effect", "key": event, **same}]
    return [*found, *faults, {"t": ended, "kind": "end"}]


def verdicts(path: Path, found: list[Line]) -> dict[str, str]:
    """What our own judge says, and where it is there, the independent one."""
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    verdict = judge_history(found)
    said = [f"{each.rule} {each.detail}\n" for each in (*verdict.violations, *verdict.unknown)]
    path.with_name("judge.txt").write_text("".join(said) + verdict.word + "\n")
    if not OFFICIAL.exists():
        return {"ours": verdict.word, "history_check": "not here"}
    with path.open() as history_file:
        done = subprocess.run(
            [sys.executable, OFFICIAL, "--effects"],
            stdin=history_file,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    path.with_name("history_check.txt").write_text(done.stdout + done.stderr)
    word = {0: "VALID", 1: "INVALID"}.get(done.returncode, "UNKNOWN")
    return {"ours": verdict.word, "history_check": word}


def again(ids: Iterable[Any]) -> int:
    """How many came more than the first time."""
    return sum(count - 1 for count in Counter(ids).values())


def moves(leads: Iterable[Line]) -> dict[str, int]:
    """How often each role went to another process than the one before."""
    last: dict[str, int] = {}
    found: Counter[str] = Counter()
    for line in leads:
        found[line["role"]] += last.get(line["role"], line["pid"]) != line["pid"]
        last[line["role"]] = line["pid"]
    return dict(found)
