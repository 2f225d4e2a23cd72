"""A call that waits for somebody else, as its library sees it."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.architecture.code.calls.raw import Expr
from skerry.architecture.code.calls.values import Value
from skerry.architecture.code.facts import Guard, Kind, Timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A call that waits for somebody else, before its surroundings are looked at."""

    library: str
    kind: Kind
    operation: str
    limit: Timeout
    client: Value | None = None
    url: Value | None = None
    base: Value | None = None
    """What `url` is relative to."""
    service: str = ""
    path: str = ""
    breaker: Guard | None = None
    writes: bool | None = None


def texts(expr: Expr) -> str:
    """All names and texts within an expression, so that a word can be looked for."""
    found: list[str] = []
    pending = [expr]
    while pending and len(found) < 200:
        each = pending.pop()
        found += [each.name, *each.keys]
        pending += each.args
    return " ".join(found)
