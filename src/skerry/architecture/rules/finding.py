"""What a rule says of a system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from skerry.architecture.code.facts import Code
from skerry.architecture.model import Evidence, SystemModel
from skerry.architecture.source import Files, History, Place, Skipped
from skerry.architecture.traces.spans import Traces


class Verdict(StrEnum):
    """There is no bare pass: clean comes with what was seen, unknown with what is missing."""

    VIOLATION = "violation"
    SUSPECT = "suspect"
    CLEAN = "clean"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How bad it is; the exit code follows the worst."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One verdict about some services. Of a clean one, `evidence` is why; of an unknown one, `message` says what is missing."""

    rule: str
    verdict: Verdict
    message: str
    severity: Severity = Severity.NOTE
    services: tuple[str, ...] = ()
    place: Place | None = None
    evidence: tuple[Evidence, ...] = ()
    fix: str = ""
    """What to do here; empty for the rule's own advice."""
    key: str = ""
    """What makes it the same finding after lines have moved: function, operation, table. Never a line number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All that a rule may look at."""

    files: Files
    code: Code
    model: SystemModel
    history: History | None = None
    """None where there is no history, or too little of it."""
    traces: Traces | None = None
    part: str = ""
    """The folder of the repository that is looked at, relative to its root; empty when it is all of it."""
    skipped: tuple[Skipped, ...] = ()
    """Code and manifests that were not read at all; with `code.unparsed`, what makes an analysis partial."""


def counted(number: int, what: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def every(number: int, what: str) -> str:
    """`the only call`, `each of 2 calls`."""
    return f"the only {what}" if number == 1 else f"each of {counted(number, what)}"


class Rule(Protocol):
    """One NEVER row."""

    @property
    def name(self) -> str:
        """Such as `shared-database`."""

    @property
    def why(self) -> str:
        """Why it hurts, in two or three sentences."""

    @property
    def fix(self) -> str:
        """What to do, with the piece of skerry for it and a way without skerry."""

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Every verdict; at least one."""
