"""What services tell, as the console keeps it: spans and records, each cut to a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from skerry.errors import SkerryError

MAX_SPANS: Final = 10_000
"""Spans, or log records, that are taken of one request; a sender that batches by the book sends 512."""
MAX_ATTRIBUTES: Final = 24
MAX_NAME: Final = 120
MAX_VALUE: Final = 200
"""Characters of a value that are kept."""
KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
"""OpenTelemetry's kinds of spans, by number."""
UNNAMED: Final = "unknown_service"
"""A service that does not say its name, in OpenTelemetry's words."""

_OVERLOADED: Final = frozenset({408, 429})
_ENDLESS: Final = frozenset({float("inf"), float("-inf")})

Value = str | int | float | bool


class Unreadable(SkerryError):
    """A body that cannot be taken: `status` is what its sender is answered."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Span:
    """One span as the console keeps it. `at` is its beginning in seconds since 1970; `parent` is empty for the first."""

    trace: str
    id: str
    parent: str
    service: str
    name: str
    kind: str
    at: float
    seconds: float
    error: bool
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One log record: `event` is the name of a signal, empty for an ordinary line."""

    service: str
    at: float
    event: str
    level: str
    text: str
    fields: Mapping[str, Value] = field(default_factory=dict)


def cut(value: Value | None) -> Value:
    """A value as it is kept; one that JSON cannot write becomes text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value[:MAX_VALUE]
    return str(value) if isinstance(value, float) and (value != value or value in _ENDLESS) else value  # noqa: PLR0124


def failed(attributes: Mapping[str, Value], kind: str, *, said: bool) -> bool:
    """Whether an answer was a failure of who answered; `said` is whether the span calls itself one.

    OpenTelemetry has a caller call every 4xx an error, whoever made it. Here it counts against who was called, so a 404 is none;
    408 and 429 are, for they say that somebody could not keep up.
    """
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    if not isinstance(status, int):
        return said
    if kind == "client" and 400 <= status < 500:
        return said and status in _OVERLOADED
    return said or (kind == "server" and status >= 500)


def level_of(text: str, number: int) -> str:
    """The level of a record, by its word or else its number."""
    if text:
        return text.lower()[:16]
    return next((level for least, level in ((17, "error"), (13, "warning"), (9, "info")) if number >= least), "debug")
