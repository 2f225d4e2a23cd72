"""Outgoing calls of Python code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.architecture.code.facts import Call
from skerry.architecture.code.parse import Parsed
from skerry.architecture.code.structure import Resolved


@dataclass(frozen=True, slots=True)
class RawCalls:
    """What one file says of its calls."""


def read(parsed: Parsed, path: str) -> RawCalls:
    """The calls of one file."""
    del parsed, path
    return RawCalls()


def resolve(raw: Mapping[str, RawCalls], structure: Resolved) -> tuple[Call, ...]:
    """The calls of all files."""
    del raw, structure
    return ()
