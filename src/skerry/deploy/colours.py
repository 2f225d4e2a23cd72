"""What a terminal may be shown: a colour for each process, and of what processes write nothing that it would obey."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

PALETTE: Final = (28, 30, 32, 62, 64, 66, 94, 97, 130, 133, 167)
"""Of the 256 colours of terminals, some that can be told apart and read on black as well as on white."""
_NO_TERMINAL: Final = frozenset({"", "dumb"})
_STYLE: Final = re.compile(r"\x1b\[([0-9;]{0,40})m")
_STYLES: Final = frozenset({"", *map(str, (0, 1, 2, 3, 4, 22, 23, 24, 39, *range(30, 38), *range(90, 98)))})
"""Bold, faint, italic, underlined and the sixteen colours of letters: nothing that could hide a text."""
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""A control sequence, the title of a window and the like, or a short command."""


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to write in colour to `stream`.

    `NO_COLOR` forbids it and `FORCE_COLOR` asks for it, each when it is not empty; else a terminal that knows colours decides.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return stream.isatty() and environ.get("TERM", "") not in _NO_TERMINAL


def colours(names: Iterable[str]) -> dict[str, int]:
    """A colour of the palette for each name, by the name itself, so that a process has the same one tomorrow.

    No two of the first eleven have the same.
    """
    found: dict[str, int] = {}
    for name in sorted(set(names)):
        first = zlib.crc32(name.encode()) % len(PALETTE)
        free = (PALETTE[(first + step) % len(PALETTE)] for step in range(len(PALETTE)))
        used = set(found.values())
        found[name] = next((colour for colour in free if colour not in used), PALETTE[first])
    return found


def shown(text: str, *, styled: bool) -> str:
    """One line as a terminal may have it: without commands to the terminal, and in its own colours only when `styled`."""
    if text.isprintable():
        return text
    parts: list[str] = []
    at = 0
    open_style = False
    for sequence in _SEQUENCE.finditer(text):
        parts.append(_printable(text[at : sequence.start()]))
        at = sequence.end()
        style = _STYLE.fullmatch(sequence[0])
        if styled and style and _STYLES.issuperset(style[1].split(";")):
            parts.append(sequence[0])
            open_style = True
    parts.append(_printable(text[at:]))
    if open_style:
        parts.append("\x1b[0m")
    return "".join(parts)


def _printable(text: str) -> str:
    """Blanks of every kind are blanks; what else cannot be seen is shown as something that cannot be shown."""
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}"
        for each in text.expandtabs(4)
    )
