"""The judge judged: good histories pass, and each rule catches the history that breaks it."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storm.delivery_rules import DELIVERY_RULES
from storm.judge import UnusableHistory, judge
from storm.lines import Lines, read
from storm.run import OFFICIAL
from storm.saga_rules import SAGA_RULES

Line = dict[str, Any]
History = list[Line]
STEPS = ["reserve", ["debit", "notify"], "credit"]
FORWARD = ["reserve", "debit", "notify", "credit"]


class Author:
    """Writes a history in which all goes well, however much goes wrong."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.lines: History = []
        self.money = {"ann": 1000, "bob": 0}

    def say(self, kind: str, **fields: Any) -> None:
        self.lines.append({"t": float(len(self.lines)), "kind": kind, **fields})

    def write(self) -> History:
        self._balances("start")
        self.say("consumer", consumer="x")
        for number in range(30):
            self._event(number)
        self._saga("done", None)
        self._saga("undone", "credit")
        self._saga("lost", "notify", effect_of_last=True)
        self._saga("refused", "reserve")
        self.say("fault", name="kill")
        self._balances("end")
        self.say("end")
        return self.lines

    def _balances(self, phase: str) -> None:
        for account, amount in self.money.items():
            self.say("balance", phase=phase, account=account, amount=amount)

    def _event(self, number: int) -> None:
        event = f"e{number}"
        numbered = {"event_id": event, "aggregate": f"a{number % 3}", "seq": number}
        if number == 5:
            self.say("publish_fail", event_id=event)
            return
        self.say("publish_unknown" if number in {7, 8} else "publish_ok", **numbered)
        if number == 7:
            return
        if number == 9:
            self.say("dead", event_id=event, consumer="x")
            return
        for _ in range(1 + (self.dice.random() < 0.3)):
            self.say("handled", consumer="x", **numbered)
        self.say("effect", key=event, event_id=event, consumer="x")

    def _saga(self, saga: str, fails_at: str | None, *, effect_of_last: bool = False) -> None:
        self.say("saga_started", saga=saga, steps=STEPS)
        effects = []
        for step in FORWARD:
            self.say("step_called", saga=saga, step=step)
            if step == fails_at and not effect_of_last:
                break
            self.say("step_effect", saga=saga, step=step)
            effects.append(step)
            if step == fails_at:
                break
        if fails_at is None:
            self.money["ann"], self.money["bob"] = self.money["ann"] - 10, self.money["bob"] + 10
            self.say("saga_ended", saga=saga, status="completed")
            return
        for step in reversed(FORWARD[: FORWARD.index(fails_at) + 1]):
            self.say("comp_called", saga=saga, step=step)
            if step in effects:
                self.say("comp_effect", saga=saga, step=step)
        self.say("saga_ended", saga=saga, status="compensated")


def is_line(**wanted: Any) -> Callable[[Line], bool]:
    return lambda line: all(line.get(name) == value for name, value in wanted.items())


def without(**wanted: Any) -> Callable[[History], History]:
    return lambda history: [line for line in history if not is_line(**wanted)(line)]


def also(kind: str, t: float = 1e6, **fields: Any) -> Callable[[History], History]:
    return lambda history: [*history, {"t": t, "kind": kind, **fields}]


def moved(to: float | str, **wanted: Any) -> Callable[[History], History]:
    """Give the lines meant another time: a fixed one, or that of just before or after the end of their saga."""

    def move(history: History) -> History:
        time = to
        if isinstance(to, str):
            time = next(line["t"] for line in history if is_line(kind="saga_ended", saga=wanted["saga"])(line)) - 0.5
        return [{**line, "t": time} if is_line(**wanted)(line) else line for line in history]

    return move


BREAKS: list[tuple[str, Callable[[History], History]]] = [
    ("D1", lambda h: [line for line in h if line.get("event_id") != "e20" or line["kind"] == "publish_ok"]),
    ("D2", also("handled", event_id="e5", consumer="x")),
    ("D2", also("effect", event_id="nobody", key="nobody", consumer="x")),
    ("D3", moved(0.0, kind="handled", event_id="e20")),
    ("D3", without(kind="handled", event_id="e20")),
    ("D4", also("effect", event_id="e20", key="e20", consumer="x")),
    ("D5", without(kind="effect", event_id="e20")),
    ("L1", without(kind="saga_ended", saga="done")),
    ("S1", without(kind="step_effect", saga="done", step="debit")),
    ("S1", also("comp_effect", 100.0, saga="done", step="debit")),
    ("S2", without(kind="comp_effect", saga="undone", step="reserve")),
    ("S3", without(kind="step_called", saga="undone", step="credit")),
    ("S4", without(kind="step_effect", saga="undone", step="debit")),
    ("S5", also("step_effect", saga="done", step="debit")),
    ("S6", also("comp_effect", saga="undone", step="debit")),
    ("S7", moved(0.0, kind="step_effect", saga="done", step="credit")),
    ("S8", moved(0.0, kind="comp_called", saga="undone", step="reserve")),
    ("S9", also("saga_ended", saga="undone", status="completed")),
    ("S10", also("step_effect", saga="ghost", step="reserve")),
    ("Z1", moved("end", kind="step_effect", saga="undone", step="notify")),
    ("Z1", lambda h: also("step_effect", _end_of(h, "undone") - 0.5, saga="undone", step="credit")(h)),
    ("E1", also("step_effect", saga="refused", step="reserve")),
    ("E1", moved(1e6, kind="comp_effect", saga="undone", step="reserve")),
    ("M1", also("external", amount=1)),
    ("M1", lambda h: [{**line, "amount": 1} if line.get("phase") == "end" else line for line in h]),
]


def _end_of(history: History, saga: str) -> float:
    return next(line["t"] for line in history if is_line(kind="saga_ended", saga=saga)(line))


@pytest.mark.parametrize("seed", range(10))
def test_a_good_history_is_valid(seed: int) -> None:
    """Redeliveries, refusals, lost replies and dead letters break no rule."""
    assert judge(Author(seed).write()).word == "VALID"


@pytest.mark.parametrize(("rule", "broken"), BREAKS, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BREAKS)])
def test_a_broken_rule_is_found(rule: str, broken: Callable[[History], History]) -> None:
    """Each rule catches a history that breaks it."""
    verdict = judge(broken(Author(0).write()))
    assert rule in verdict.rules()
    assert verdict.word == "INVALID"


def test_every_rule_is_tried() -> None:
    """No rule is without a history that breaks it."""
    assert {rule for rule, _ in BREAKS} == {rule.partition(" ")[0] for rule in (*DELIVERY_RULES, *SAGA_RULES, "M1")}


@pytest.mark.parametrize("rule", ["D1", "L1", "S2"])
def test_without_an_end_liveness_is_unknown(rule: str) -> None:
    """What may still happen is no violation, and no proof either."""
    broken = next(broken for name, broken in BREAKS if name == rule)
    verdict = judge(without(kind="end")(broken(Author(0).write())))
    assert verdict.word == "UNKNOWN"
    assert rule in {each.rule for each in verdict.unknown}


def test_an_end_is_needed_for_a_good_verdict() -> None:
    """A history that breaks off proves nothing."""
    assert judge(without(kind="end")(Author(0).write())).word == "UNKNOWN"


def test_a_stuck_saga_is_an_end() -> None:
    """A saga that an operator sees is neither lost nor half done without anybody knowing."""
    history = without(kind="saga_ended", saga="undone")(Author(0).write())
    assert judge([*history, {"t": 1e6, "kind": "saga_ended", "saga": "undone", "status": "stuck"}]).word == "VALID"


@pytest.mark.parametrize(
    "line",
    [
        {"t": 1.0, "kind": "nonsense"},
        {"kind": "end"},
        {"t": 1.0, "kind": "publish_ok", "event_id": "e"},
        {"t": 1.0, "kind": "saga_ended", "saga": "s"},
    ],
)
def test_what_is_not_of_the_format_is_refused(line: Line) -> None:
    """A judge that skips what it does not know judges nothing."""
    with pytest.raises(UnusableHistory):
        judge([line])


@pytest.mark.judge
@pytest.mark.parametrize(
    ("rule", "broken"),
    [("", lambda h: h), *BREAKS],
    ids=["whole", *(f"{rule}-{n}" for n, (rule, _) in enumerate(BREAKS))],
)
def test_both_judges_agree(rule: str, broken: Callable[[History], History], tmp_path: Path) -> None:
    """On every history of these tests the independent judge names the same rule."""
    file = tmp_path / "history"
    lines = Lines(file)
    for line in broken(Author(0).write()):
        lines.write(**line)
    lines.close()
    command = [sys.executable, str(OFFICIAL), "--effects"]
    with file.open() as history:
        told = subprocess.run(command, stdin=history, capture_output=True, text=True, check=False)
    assert judge(read(file)).word == {0: "VALID", 1: "INVALID", 2: "UNKNOWN"}[told.returncode]
    found = set(re.findall(r"^VIOLATION (\w+)", told.stdout, re.MULTILINE))
    assert rule in found or not rule
