"""Takes out of traces what must not get into a report: users of URLs, values of queries, tokens, literals of SQL."""

from __future__ import annotations

import re
from typing import Final

_USER: Final = re.compile(r"(?<=//)[^/@\s]*@")
_TOKEN: Final = re.compile(r"(?<=/)(?:eyJ[\w.-]{10,}|[\w~+=-]{40,}|[^/\s]*@[^/\s]*)(?=/|$|\?)")
_SEPARATOR: Final = re.compile(r"[&;]")
_STRING: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'?|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)
_NUMBER: Final = re.compile(r"(?<![\w$\"`.])[+-]?\d[\w.]*")
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)
_QUOTED_VALUE: Final = re.compile(r'(?<=[=<>(,])(\s*)"[^"]*"')
_DOUBLE: Final = re.compile(r'"(?:[^"\\]|""|\\.)*"?', re.DOTALL)
MAX_KNOWN: Final = 200_000
"""Different values that are told apart; what comes later is `{}`."""


class Masks:
    """Numbers instead of values: equal values have equal numbers, and no value can be got back."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def url(self, text: str) -> str:
        """A URL or a path without user and fragment, each value of the query as a number."""
        plain, _, query = text.partition("#")[0].partition("?")
        plain = _TOKEN.sub("{}", _USER.sub("", plain))
        if not query:
            return plain
        parts = (self._pair(part) for part in _SEPARATOR.split(query)[:32] if part)
        return f"{plain}?{'&'.join(parts)}"

    def name(self, text: str) -> str:
        """The name of a span: whatever follows a question mark is left out."""
        return _TOKEN.sub("{}", _USER.sub("", text.partition("?")[0]))[:200]

    @staticmethod
    def statement(text: str, *, quotes: bool = False) -> str:
        """SQL without literals and comments. `quotes`: double quotes are around strings, as MySQL has it."""
        bare = _STRING.sub("?", _COMMENT.sub(" ", text))
        if quotes:
            bare = _DOUBLE.sub("?", bare)
        return _NUMBER.sub("?", _QUOTED_VALUE.sub(r"\1?", bare))

    def _pair(self, part: str) -> str:
        name, sign, value = part.partition("=")
        if not sign:
            return "{}"  # a bare word may be the secret itself
        number = self._numbers.get(value)
        if number is None and len(self._numbers) < MAX_KNOWN:
            number = self._numbers[value] = len(self._numbers) + 1
        return f"{name[:60]}={{{number or ''}}}"
