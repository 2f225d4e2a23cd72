"""Outgoing calls of Python code: whom they wait for, for how long, behind which breaker, how often."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.architecture.code.calls import find
from skerry.architecture.code.calls import read as reading
from skerry.architecture.code.calls.raw import RawCalls
from skerry.architecture.code.facts import Call, Role
from skerry.architecture.code.parse import Parsed
from skerry.architecture.code.structure import Resolved

__all__ = ["RawCalls", "read", "resolve"]

_ASIDE = frozenset((Role.TEST, Role.GENERATED, Role.MIGRATION))


def read(parsed: Parsed, role: Role) -> RawCalls:
    """What one file says of its calls; nothing of tests, migrations and generated code, in which no user waits."""
    return reading.read(parsed, keep=role not in _ASIDE)


def resolve(raw: Mapping[str, RawCalls], structure: Resolved) -> tuple[Call, ...]:
    """The calls of all files, in the order of their places."""
    return find.calls(raw, structure)
