"""The result of a soak, for a person and for a program."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, ClassVar, Protocol


class Result(Protocol):
    """A dataclass. `ok` when the books agree and everything that was planned has happened; `faults` says what speaks against."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    notes: list[str]
    faults: list[str]

    @property
    def ok(self) -> bool: ...


def as_text(result: Result) -> str:
    """A table, and what went wrong."""
    found = []
    for name, value in asdict(result).items():
        if not isinstance(value, list):
            counts = value.items() if isinstance(value, dict) else ()
            shown = ", ".join(f"{what} {count}" for what, count in sorted(counts)) or value
            found.append(f"{name.replace('_', ' '):24} {shown}")
    found += [f"note: {each}" for each in result.notes] + [f"FAULT: {each}" for each in result.faults]
    return "\n".join([*found, "VALID" if result.ok else "INVALID"])


def as_json(result: Result) -> str:
    """The same for programs."""
    return json.dumps({**asdict(result), "ok": result.ok}, indent=2)
