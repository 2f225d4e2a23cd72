"""Header lines, each read once: most of them come again with the next message."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, final

Field = tuple[bytes, bytes]
PASSES: Final = 0
"""The kind of a header that goes on as it is."""
_REPEATING: Final = frozenset(
    b"host connection content-length content-type transfer-encoding user-agent accept accept-encoding accept-language"
    b" accept-charset cache-control pragma dnt origin upgrade-insecure-requests sec-fetch-dest sec-fetch-mode sec-fetch-site"
    b" sec-fetch-user sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform server date vary content-encoding content-language"
    b" access-control-allow-origin strict-transport-security x-content-type-options x-frame-options".split()
)
_LONGEST: Final = 256
"""Bytes of a line that is remembered."""
_MOST: Final = 2048
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")


@final
class Meant:
    """A header that is meant for us, or for nobody; `number` is its value as a plain number, None if it is none."""

    __slots__ = ("kind", "name", "number", "value")

    def __init__(self, kind: int, name: bytes, value: bytes) -> None:
        self.kind: int = kind
        self.name: bytes = name
        self.value: bytes = value
        self.number: int | None = int(value) if _DIGITS.fullmatch(value) else None


class Lines:
    """Reads header lines, and remembers those whose values repeat and are nobody's secret: a few thousand, then it begins anew.

    `kind_of` says of a name in lower case what becomes of its headers.
    """

    __slots__ = ("_kind_of", "_known")

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of
        self._known: dict[bytes, Field | Meant] = {}

    def read(self, head: bytes, lines: list[bytes], grammar: re.Pattern[bytes]) -> list[Field | Meant] | None:
        """What each of the `lines` of `head` says, None when `head` does not fit the `grammar`.

        A known line was part of a sound head before, so the grammar looks at the whole of it only when there are others.
        """
        known = self._known
        try:
            return [known[line] for line in lines]
        except KeyError:
            if not grammar.fullmatch(head):
                return None
            return [known.get(line) or self._learn(line) for line in lines]

    def _learn(self, line: bytes) -> Field | Meant:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        kind = self._kind_of(name)
        told = (name, value) if kind == PASSES else Meant(kind, name, value)
        if name in _REPEATING and len(line) <= _LONGEST:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[line] = told
        return told
