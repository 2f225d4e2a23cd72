"""What is written about sagas, and how one of them stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from skerry.clock import Clock
from skerry.saga.definition import Saga
from skerry.saga.redaction import WHOLE, redacted

Status = Literal["running", "compensating", "completed", "compensated", "stuck"]
What = Literal["waits", "done", "rejected", "failed", "unknown", "undone"]


@dataclass(slots=True)  # not frozen, or it would take eight times as long to make, and there is one for each step
class Record:
    """One transition: what happened to a step (none for `step` ""), and the saga's status from now on (None: as before)."""

    saga_id: str
    step: str = ""
    what: What = "done"
    result: str | None = None
    status: Status | None = None
    reason: str = ""
    waited: bool = False
    """The step only waited; somebody has to look at the saga again."""
    parent: str = ""
    """The saga that waits for this one."""
    erases: bool = False
    """Whether there is something to redact when the saga has ended."""

    @property
    def ends(self) -> bool:
        """Whether nothing more happens to the saga, unless its parent takes it back."""
        return self.status in {"completed", "compensated"}


@dataclass(frozen=True, slots=True)
class Pause:
    """A step waits until `until`; nobody has to look at the saga before `due`. Times are seconds since 1970.

    `child` is the id of the saga that it waits for, if it does: that it ends or, going `back`, that it has turned back.
    """

    id: str
    name: str
    key: str
    step: str
    until: float
    due: float
    child: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class TurnBack:
    """A child, `id`, has to turn back before its next attempt; `completed`: also when it has completed."""

    id: str
    parent: str
    reason: str
    completed: bool


@dataclass(frozen=True, slots=True)
class Start:
    """A saga to begin; `input` is JSON."""

    id: str
    name: str
    version: int
    key: str
    signature: str
    input: str = field(repr=False)
    traceparent: str = ""
    parent: str = ""
    redact: str = ""

    def status(self, now: float) -> SagaStatus:
        """The saga as it stands when it has just begun."""
        return SagaStatus(
            self.id,
            self.name,
            self.version,
            self.key,
            "running",
            "",
            self.signature,
            self.traceparent,
            self.input,
            {},
            {},
            now,
            parent=self.parent,
            redact=self.redact,
        )


def beginning(saga: Saga, value: str, key: str, *, trace: str, parent: str = "", clock: Clock) -> Start:
    """A saga to begin, with `value` as its input, in JSON."""
    hidden = saga.redactions()
    return Start(
        clock.uuid_text(),
        saga.name,
        saga.version,
        key,
        saga.signature(),
        value,
        trace,
        parent,
        json.dumps(hidden) if hidden else "",
    )


@dataclass(frozen=True, slots=True)
class SagaStatus:
    """A saga as it stands. `steps` maps a step's name to what happened to it last; `results` holds plain JSON.

    `started_at`, and in `waits` until when a step waits, are in seconds since 1970. `parent` is the id of the saga of which it
    is a step; `taken_back` tells that it had completed, and its parent turned back. `redact` are paths, see `Saga`, as JSON.
    """

    id: str
    name: str
    version: int
    key: str
    status: Status
    reason: str
    signature: str
    traceparent: str
    input: str = field(repr=False)
    steps: Mapping[str, What]
    results: Mapping[str, str | None] = field(repr=False)
    started_at: float = 0.0
    waits: Mapping[str, float] = field(default_factory=dict)
    parent: str = ""
    taken_back: bool = False
    redact: str = ""

    @property
    def turned_back(self) -> bool:
        """Whether what was done is being undone, or was."""
        return self.taken_back or not {"rejected", "failed", "unknown", "undone"}.isdisjoint(self.steps.values())

    @property
    def ended(self) -> bool:
        """Whether nothing more happens without a person."""
        return self.status in {"completed", "compensated", "stuck"}

    def as_shown(self) -> SagaStatus:
        """It without what is nobody's business."""
        paths = json.loads(self.redact or "{}")
        results = {step: text and redacted(text, paths.get(step, ())) for step, text in self.results.items()}
        return replace(self, input=redacted(self.input, paths.get(WHOLE, ())), results=results)

    def result(self, step: str) -> Any:
        """What a step returned, as plain JSON; None when it did not finish."""
        text = self.results.get(step)
        return None if text is None else json.loads(text)


Entry = Record | Start | Pause | TurnBack
