"""Spans, whatever format and whichever semantic conventions they came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from skerry.architecture.source import Skipped


class SpanKind(StrEnum):
    """On which side of what the span stands."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. `attributes` are the stable semantic conventions; older names were translated."""

    trace: str
    span: str
    parent: str
    service: str
    name: str
    kind: SpanKind
    start: float
    """Unix time in seconds."""
    end: float
    error: bool
    attributes: Mapping[str, str | int | float | bool]
    line: int
    """Of the file it was read from."""
    file: str
    links: tuple[tuple[str, str], ...] = ()
    """(trace, span) of others that it has to do with and that are not its parent: the messages of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """All spans that were read, by trace; a trace's spans are in the order of their start."""

    traces: Mapping[str, tuple[Span, ...]]
    skipped: tuple[Skipped, ...] = ()
    """Lines and files that were not understood, each with its reason."""
