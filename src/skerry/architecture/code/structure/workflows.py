"""Functions and sagas that change state in more than one place, and what stays when a later change fails."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from skerry.architecture.code.facts import Call, Change, Kind, Role, Workflow
from skerry.architecture.code.structure.graph import Names
from skerry.architecture.code.structure.raw import SagaStep, Step, Structure
from skerry.architecture.code.structure.steps import UNDO
from skerry.architecture.source import Place

_REMOTE: Final = frozenset((Kind.HTTP, Kind.GRPC, Kind.RPC))
_LEFT_OUT: Final = frozenset((Role.TEST, Role.EXAMPLE, Role.SCRIPT, Role.MIGRATION, Role.GENERATED))
_ONLY_ASKS: Final = re.compile(
    r"(?:^|[/_.\s-])(?:log_?in|sign_?in|auth\w*|token|oauth\w*|search|query|graphql|validat\w*|verif\w*|check|quote|convert|"
    r"predict\w*|recommend\w*|estimate|lookup|find|list|get|read|fetch|calculate|price|health|log|logs|metrics?|track|telemetry|"
    r"analytics|audit|introspect|batch_?get|translate|render|preview|ping|embeddings?|completions?|analy[sz]\w*|classif\w*|"
    r"categori[sz]\w*|summar\w*|extract\w*|scrape|crawl|compute|evaluate|scor(?:e|es|ing)|rank|enrich\w*|canonicali[sz]\w*|"
    r"normali[sz]\w*|geocode|parse|ocr|transcri\w*|detect\w*|suggest\w*|infer\w*|(?:de|en)crypt\w*|(?:de|en)code)(?:$|[/_.?\s-])",
    re.IGNORECASE,
)
_ASKS: Final = re.compile(
    r"^(?:Get|List|Find|Search|Query|Check|Validate|Verify|Quote|Read|Fetch|Watch|Describe|Calculate|Convert)"
)
_TELLS: Final = re.compile(
    r"(?:^|[/_.\s-])(?:notif\w*|e?-?mails?|sms|slack|webhooks?|push|alerts?)(?:$|[/_.?\s-])",
    re.IGNORECASE,
)
"""Telling somebody: when it fails, what was done before is still right, and nobody can be untold."""
_BY_KEY: Final = re.compile(r"idempoten|request_id=|dedup", re.IGNORECASE)
_REPEATABLE: Final = ("PUT ", "PATCH ", "DELETE ")
"""Methods that can be sent again to the same peer without harm."""
_DEPTH: Final = 4
"""Functions within functions that are followed."""
_NEAR: Final = 500
"""Functions that begin before a call and are tried as the one around it."""
_MAX_CHANGES: Final = 30
"""Changes of one function that are compared with each other."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One step with the changes that it makes, itself or through what it calls."""

    step: Step
    changes: tuple[Change, ...]
    whom: str = ""
    keyed: bool = False
    undoes: bool = False


@dataclass(slots=True)
class Workflows:
    """All functions with their steps and calls. `find` is the whole of it."""

    files: Mapping[str, Structure]
    names: Names
    calls: Iterable[Call]
    _steps: dict[tuple[str, str], list[Step]] = field(default_factory=dict)
    _calls: dict[tuple[str, str], list[Call]] = field(default_factory=dict)
    _known: dict[tuple[str, str], tuple[Change, ...]] = field(default_factory=dict)

    def find(self) -> tuple[Workflow, ...]:
        """Every function and saga with changes in two places or more, in the order of their places."""
        for path, each in self.files.items():
            for step in each.steps:
                self._steps.setdefault((path, step.function), []).append(step)
        self._place_calls()
        found = [*self._functions(), *self._sagas()]
        return tuple(sorted(found, key=lambda each: each.place))

    def _place_calls(self) -> None:
        spans = {
            path: sorted(
                ((first, last, name) for name, first, last in each.spans), key=lambda span: (span[0], -span[1])
            )
            for path, each in self.files.items()
        }
        for call in self.calls:
            own = spans.get(call.place.file, [])
            at = bisect_right(own, (call.place.line, float("inf"), ""))
            for first, last, name in own[max(0, at - _NEAR) : at][::-1]:
                if first <= call.place.line <= last:
                    self._calls.setdefault((call.place.file, name), []).append(call)
                    break

    def _functions(self) -> Iterator[Workflow]:
        relays = self._relays()
        lines = {(path, name): first for path, each in self.files.items() for name, first, _ in each.spans}
        for key in sorted({*self._steps, *self._calls}):
            path, function = key
            role = self.files[path].role
            if role in _LEFT_OUT or UNDO.search(f".{function.rpartition('.')[2]}"):
                continue
            items = self._items(key, 0, ())
            changing = [each for each in items if each.changes and not each.undoes][:_MAX_CHANGES]
            if len(changing) < 2:
                continue
            missing = tuple(
                each for each in _missing(path, items, changing) if each.what != "commit" or key not in relays
            )
            changes = tuple(change for each in items for change in _own(path, each))
            first = lines.get(key, 0)
            yield Workflow(place=Place(path, first), function=function, changes=changes, missing=missing, role=role)

    def _relays(self) -> set[tuple[str, str]]:
        """Functions that use an outbox: what they commit is sent, if not now then by the next run."""
        used = {
            (path, use.function)
            for path, each in self.files.items()
            for use in each.uses
            if "outbox" in use.table.lower()
        }
        named = {key for key in self._steps if "outbox" in f"{key[0]}.{key[1]}".lower()}
        return used | named

    def _items(self, key: tuple[str, str], depth: int, above: tuple[tuple[str, str], ...]) -> list[_Item]:
        steps = self._steps.get(key, [])
        remote = {call.place.line: call for call in self._calls.get(key, ()) if call.kind in _REMOTE}
        around = {step.line: step for step in steps}
        items: list[_Item] = []
        for line, call in remote.items():
            step = around.get(line) or _nearest(steps, line) or Step(key[1], "remote", line, call.operation)
            items += _of_call(call, step)
        for step in steps:
            if step.what == "call":
                if step.line not in remote:
                    items += self._called(key, step, depth, above)
            elif step.what == "undo":
                items.append(_Item(step, (), undoes=True))
            elif step.what != "outbox":
                place = Place(key[0], step.line)
                undoes = bool(step.handler) and step.what in {"commit", "publish"}
                items.append(_Item(step, (Change("undo" if undoes else step.what, place, step.name),), undoes=undoes))
        return _asked_by_message(sorted(items, key=lambda each: each.step.line))

    def _called(
        self, key: tuple[str, str], step: Step, depth: int, above: tuple[tuple[str, str], ...]
    ) -> Iterator[_Item]:
        callee = self.names.function(key[0], step.name)
        undoing = UNDO.search(f".{step.name.rpartition('.')[2]}") is not None
        if callee is None or callee == key or callee in above or depth >= _DEPTH:
            if undoing and (step.handler or step.branches):
                yield _Item(step, (), undoes=True)
            return
        if callee not in self._known:
            inner = self._items(callee, depth + 1, (*above, key))
            found = [change for each in inner for change in each.changes if not each.undoes]
            self._known[callee] = tuple(found[:_MAX_CHANGES])
        changes = self._known[callee]
        if changes or (undoing and step.handler):
            whom = next((change.detail for change in changes if change.what == "remote"), "")
            yield _Item(step, changes, whom=whom, undoes=undoing and bool(step.handler or step.branches))

    def _sagas(self) -> Iterator[Workflow]:
        for path, each in self.files.items():
            sagas: dict[str, list[SagaStep]] = {}
            for step in each.saga_steps if each.role not in _LEFT_OUT else ():
                sagas.setdefault(step.saga, []).append(step)
            for name, steps in sagas.items():
                changes = tuple(Change("remote", Place(path, step.line), step.function) for step in steps)
                last = steps[-1]
                missing = tuple(
                    Change("remote" if step.kind == "step" else step.kind, Place(path, step.line), step.function)
                    for step in steps
                    if not step.compensation
                    and step.kind != "retriable"
                    and step is not last
                    and not self._only_reads((path, step.function))
                )
                place = Place(path, steps[0].declared)
                yield Workflow(place=place, function=name, changes=changes, missing=missing, saga=True, role=each.role)

    def _only_reads(self, key: tuple[str, str]) -> bool:
        """Whether a step is seen to ask, and to change nothing."""
        calls = self._calls.get(key, ())
        asked = [call for call in calls if call.kind in _REMOTE]
        return (
            bool(asked)
            and not any(map(_changes_something, asked))
            and not any(each.changes for each in self._items(key, 0, ()))
        )


def _waits_for_answer(item: _Item) -> bool:
    """Whether it asks by a message and waits; whom, the message's text may say."""
    return any(change.what == "remote" and change.detail.split(" ")[0] == "answer" for change in item.changes)


def _asked_by_message(items: list[_Item]) -> list[_Item]:
    """`items` without messages whose answer is waited for at once: the two are one call."""
    kept: list[_Item] = []
    for item in items:
        if _waits_for_answer(item) and kept and [change.what for change in kept[-1].changes] == ["publish"]:
            kept.pop()
        kept.append(item)
    return kept


def _nearest(steps: list[Step], line: int) -> Step | None:
    """The step that stands around a call at `line`: the last one that begins before it within a few lines."""
    near = [step for step in steps if 0 <= line - step.line <= 3] or [
        step for step in steps if 0 < step.line - line <= 6
    ]
    return near[-1] if near else None


def _of_call(call: Call, step: Step) -> Iterator[_Item]:
    if not _changes_something(call):
        return
    words = f"{call.operation} {call.path} {call.function.rpartition('.')[2] if step.handler else ''}"
    undoes = bool(step.handler or step.branches) and (call.operation == "DELETE" or UNDO.search(words) is not None)
    target = call.target.service or (call.target.variables[0] if call.target.variables else "") or call.target.url
    detail = " ".join(filter(None, (call.operation, target, call.path)))
    change = Change("undo" if undoes and step.handler else "remote", call.place, detail)
    keyed = _BY_KEY.search(call.text) is not None
    yield _Item(step, (change,), whom=target, keyed=keyed, undoes=undoes and bool(step.handler))


def _changes_something(call: Call) -> bool:
    if not call.writes or _ASKS.match(call.operation):
        return False
    return not _ONLY_ASKS.search(call.path) and not (
        call.kind is not Kind.HTTP and _ONLY_ASKS.search(f".{call.operation}")
    )


def _missing(path: str, items: list[_Item], changing: list[_Item]) -> Iterator[Change]:
    for index, item in enumerate(changing):
        later = [each for each in changing[index + 1 :] if _threatens(item, each)]
        if later and not any(_undone(items, item, each) for each in later):
            yield _own(path, item)[-1]


def _own(path: str, item: _Item) -> list[Change]:
    """The changes of a step at the step's own line, though a function that it calls makes them."""
    kinds = dict.fromkeys((each.what, each.detail) for each in item.changes)
    return [Change(what, Place(path, item.step.line), detail) for what, detail in kinds]


def _threatens(item: _Item, later: _Item) -> bool:
    """Whether `later` may fail after `item` was done, in one run."""
    # one function that asks whomever it is told to: it cannot be seen whom, nor which of its calls undoes which
    anybody = item.step.what == "call" and _waits_for_answer(item)
    if item.keyed or (item.step.name == later.step.name and (item.step.line == later.step.line or anybody)):
        return False
    mine, other = item.changes[-1].what, later.changes[0].what
    if (mine, other) not in {
        ("commit", "publish"),
        ("commit", "remote"),
        ("remote", "remote"),
        ("remote", "commit"),
        ("remote", "publish"),
        ("publish", "remote"),
    }:
        return False
    told = mine == "remote" and _TELLS.search(item.changes[-1].detail)
    if (mine == "commit" and later.keyed) or told or _TELLS.search(later.changes[0].detail):
        return False
    if mine == other == "remote" and item.whom == later.whom and item.changes[-1].detail.startswith(_REPEATABLE):
        return False
    if later.step.handler and later.step.handler in item.step.tries:
        return False
    return not _apart(item.step.branches, later.step.branches)


def _apart(mine: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two steps stand on different sides of an `if`, or the first on a side that leaves before the second."""
    sides = {each.rstrip("!").rpartition(":")[0]: each.rstrip("!").rpartition(":")[2] for each in other}
    for each in mine:
        line, _, side = each.rstrip("!").rpartition(":")
        if line in sides:
            if sides[line] != side:
                return True
        elif each.endswith("!"):
            return True
    return False


def _undone(items: list[_Item], item: _Item, later: _Item) -> bool:
    """Whether something undoes `item` when `later` fails: in the handler around it, or in a branch after it."""
    for each in items:
        step = each.step
        if not each.undoes and not (step.branches and UNDO.search(f".{step.name.rpartition('.')[2]}")):
            continue
        if each.whom and item.whom and each.whom != item.whom and each.changes != ():
            continue
        if step.name.endswith("rollback") and item.changes[-1].what == "remote":
            continue
        if step.handler and step.handler in later.step.tries:
            return True
        if not step.handler and step.line > later.step.line and step.branches != later.step.branches:
            return True
    return False
