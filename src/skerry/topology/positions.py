"""Where each key of a TOML document stands: `tomllib` parses values but keeps no line numbers.

A scanner, not a second parser: it runs only over text that `tomllib` has accepted, so it need not detect errors.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]
"""Keys and array indexes from the top of the document, as one would subscript what `tomllib` returns."""

_BASIC = r'"(?:[^"\\\n]|\\.)*+"'
_LITERAL = r"'[^'\n]*+'"
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY_PART = re.compile(rf"{_BASIC}|{_LITERAL}|[A-Za-z0-9_-]++")
_SCALAR = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    rf"|{_BASIC}|{_LITERAL}|[^\n,\]}}#]++",
    re.DOTALL,
)


def positions(text: str) -> dict[Path, int]:
    """The 1-based line of every table, key and array element in `text`, a TOML document that `tomllib` accepts.

    A table that is only implied (`a` in `[a.b]`) stands where it is first mentioned, one with a header at its header. An
    array of tables stands at its first header and each of its elements at its own. May raise `RecursionError`, as `tomllib`
    does, when values nest hundreds deep.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)
        return self._found

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "tomllib accepted this text"
        self._skip(match.end() - self._at)
        return match[0]

    def _skip(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _next_is(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _header(self) -> Path:
        line = self._line
        brackets = 2 if self._next_is("[[") else 1
        self._skip(brackets)
        *parents, last = self._key()
        path: Path = ()
        for part in parents:
            path = (*path, part)
            self._found.setdefault(path, line)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        path = (*path, last)
        if brackets == 2:
            self._found.setdefault(path, line)
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
        self._found[path] = line
        self._skip(brackets)
        return path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._take(_SPACE)
            raw = self._take(_KEY_PART)
            parts.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
            self._take(_SPACE)
            if not self._next_is("."):
                return parts
            self._skip(1)

    def _pair(self, table: Path) -> None:
        line = self._line
        path = table
        for part in self._key():
            path = (*path, part)
            self._found.setdefault(path, line)
        self._skip(len("="))
        self._take(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._next_is("["):
            self._array(path)
        elif self._next_is("{"):
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _array(self, path: Path) -> None:
        self._skip(1)
        index = 0
        while not self._closed_by("]"):
            self._found[*path, index] = self._line
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._skip(1)
        while not self._closed_by("}"):
            self._pair(path)

    def _closed_by(self, bracket: str) -> bool:
        self._take(_BLANK)
        if self._next_is(","):
            self._skip(1)
            self._take(_BLANK)
        if not self._next_is(bracket):
            return False
        self._skip(1)
        return True
