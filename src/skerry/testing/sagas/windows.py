"""The windows in which a saga can be left half done, and which of them an execution went through."""

from __future__ import annotations

from typing import Final

from skerry.saga import Saga
from skerry.saga.definition import Child
from skerry.saga.step import Wait

WINDOWS: Final = {
    1: "before the start is recorded",
    2: "the start is recorded, no step was called",
    3: "before a call",
    4: "a call succeeded, which is not recorded",
    5: "no answer: it may have taken effect",
    6: "a compensation reaches a step that never took effect",
    7: "a request arrives after its compensation",
    8: "the participant says no",
    9: "a crash while the saga turns back",
    10: "a compensation fails until the saga is stuck",
    11: "trouble behind the point of no return",
    12: "a crash around the last record",
    13: "the lead is lost, and the worker goes on",
    14: "the saga is started twice",
    15: "a signal comes twice, or too early",
    16: "somebody cancels the saga",
    17: "the steps changed while it was under way",
    18: "the database is down, or what it did is unknown",
}
_BY_WHAT: Final = {
    "rejected": {8},
    "pause": {13},
    "early": {15},
    "sent twice": {15},
    "never": set[int](),
    "cancel": {16},
    "other steps": {17},
    "fails": {18},
    "unclear": {18},
    "crash": set[int](),
    "crash after": set[int](),
}
"""Those that follow from what happens alone."""
_UNDONE: Final = {6, 7, 9, 10}
"""Only where something can be undone."""


def applicable(saga: Saga, *, crashes: int, faults: int, preemptions: int) -> set[int]:
    """The windows that a saga of this shape can be in, given what may go wrong at all."""
    windows = set(WINDOWS)
    steps = saga.every_step()
    if not faults or not any(isinstance(step, Wait) and step.receives for step in steps):
        windows -= {15}
    if all(step.compensation is None for step in steps):
        windows -= _UNDONE
    if all(step.kind == "retriable" for step in steps):
        windows -= {8} | _UNDONE
    if all(step.kind != "retriable" for step in steps):
        windows -= {11}
    if not crashes:
        windows -= {1, 2, 3, 4, 9, 12, 14, 17}
    if not faults:
        windows -= {5, 8, 11, 16, 17, 18} | _UNDONE
    elif faults == 1:
        windows -= {10}  # one fault for the saga to turn back, one for its compensation
    if not preemptions:
        windows -= {13}
        if not crashes:
            windows -= {14}
    return windows


def met(saga: Saga, where: str, what: str, *, turns_back: bool) -> set[int]:
    """The windows that an incident is in: `what` happens at `where`, and the saga goes back already or does not."""
    windows = set(_BY_WHAT.get(what, ()))
    kind, _, action = where.partition(" ")
    step, _, way = action.rpartition(".")
    if what.startswith("crash"):
        windows |= _crash(kind, action, way, first=step == _first(saga))
        if way == "undo" or turns_back:
            windows.add(9)
    if way == "do" and what.rstrip("!") in {"nothing", "lost", "late"}:
        windows.add(5)
    if (
        way == "do"
        and _BY_WHAT.get(what) is None
        and any(s.name == step and s.kind == "retriable" for s in saga.every_step())
    ):
        windows.add(11)
    if way == "undo" and what in {"nothing!", "lost!"}:
        windows.add(10)
    return windows


def _first(saga: Saga) -> str:
    """The step that is called first."""
    step = saga.steps[0]
    return _first(step.saga) if isinstance(step, Child) else step.name


def _crash(kind: str, action: str, way: str, *, first: bool) -> set[int]:
    """Those of a process that dies, on the way forward."""
    windows = set()
    if way == "do":
        windows.add(3 if kind == "before" else 4)
        if kind == "before" and first:
            windows.add(2)
    if kind == "commit" and action == "start":
        windows.add(1)
    if kind == "commit" and action.endswith(("completed", "compensated")):
        windows.add(12)
    return windows
