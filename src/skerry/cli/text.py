"""How verbs show things to a person, or write them for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from skerry.errors import ConfigurationError

_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_SHOWN: Final = 2
"""So many of the larger unit before it is used: 90 min says more than 1 h."""


def columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, each column as wide as its widest entry."""
    cells = [[name.upper() for name in head], *([plain(str(cell)).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def plain(text: str) -> str:
    """`text` without what a terminal would obey: it came from elsewhere. Line ends stay."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def age(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`; `-` for None."""
    if seconds is None:
        return "-"
    for length, unit in _UNITS:
        if seconds >= _SHOWN * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def count(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def write(text: str, file: Path) -> None:
    """Write a file as it was asked for. Raises `ConfigurationError` when it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror or error}") from None
