"""Reading a parsed TOML table key by key, and collecting what is wrong with it together with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from skerry.errors import ConfigurationError
from skerry.topology.positions import Path

MAX_REPORTED = 20
_KINDS = {str: "a text", int: "a whole number", list: "a list of texts", dict: "a table", bool: "true or false"}


class Problems:
    """What is wrong with one file, so that all of it can be reported at once."""

    def __init__(self, source: str, lines: Mapping[Path, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[tuple[int, str]] = []

    def add(self, path: Path, message: str) -> None:
        """Report `message` for the line of `path`, or of the nearest table around it that the file mentions."""
        while path and path not in self._lines:
            path = path[:-1]
        self._found.append((self._lines.get(path, 1), message))

    def raise_if_any(self) -> None:
        """Raise one `ConfigurationError` at the first line that is wrong; its message names the others too."""
        if not self._found:
            return
        (line, message), *more = sorted(self._found)
        further = [f"line {at}: {what}" for at, what in more[:MAX_REPORTED]]
        if len(more) > MAX_REPORTED:
            further.append(f"and {len(more) - MAX_REPORTED} more")
        raise ConfigurationError("; ".join([message, *further]), source=self._source, line=line)


class Table:
    """A table whose keys are taken one by one; `finish` then reports those that nobody asked for.

    A value of the wrong type is reported and read as if it were missing, so that reading goes on.
    """

    def __init__(self, values: Mapping[str, Any], path: Path, problems: Problems) -> None:
        self.path = path
        self._values = values
        self._problems = problems
        self._asked: set[str] = set()

    def text(self, key: str, *, default: str = "", required: bool = False) -> str:
        """The text at `key`; a missing or empty one is a problem when it is `required`."""
        value = self._get(key, str, default)
        if required and not value:
            self.report(key, f"{self._name()} needs {quoted(key)}")
        return str(value)

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """The whole number at `key`, from `low` to `high`."""
        value = self._get(key, int, default)
        if isinstance(value, bool) or not low <= value <= high:
            self.report(key, f"{quoted(key)} must be a whole number from {low} to {high}")
            return default
        return int(value)

    def flag(self, key: str) -> bool:
        """Whether `key` is true; false when it is missing."""
        return bool(self._get(key, bool, default=False))

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of different texts at `key`. A wrong one is read as an empty text, so that the others keep their index."""
        found: list[str] = []
        for index, value in enumerate(self._get(key, list, [])):
            if not isinstance(value, str) or not value:
                self._problems.add((*self.path, key, index), f"{quoted(key)} must be {_KINDS[list]}")
            elif value in found:
                self._problems.add((*self.path, key, index), f"{quoted(value)} stands twice in {quoted(key)}")
            found.append(value if isinstance(value, str) and value not in found else "")
        return tuple(found)

    def table(self, key: str) -> Table:
        """The table at `key`; an empty one when it is missing."""
        return Table(self._get(key, dict, {}), (*self.path, key), self._problems)

    def tables(self, key: str) -> dict[str, Table]:
        """The tables inside the table at `key`, by name."""
        outer = self.table(key)
        return {name: outer.table(name) for name in outer._values}

    def mapping(self, key: str) -> dict[str, str]:
        """The table of texts at `key`."""
        inner = self.table(key)
        return {name: inner.text(name) for name in inner._values}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def report(self, key: str, message: str) -> None:
        """Add a problem at the line of `key`."""
        self._problems.add((*self.path, key), message)

    def finish(self) -> None:
        """Report every key that was not asked for."""
        for key in self._values:
            if key not in self._asked:
                self.report(key, f"unknown key {quoted(key)} in {self._name()}{suggestion(key, self._asked)}")

    def _get(self, key: str, kind: type, default: Any) -> Any:
        self._asked.add(key)
        value = self._values.get(key, default)
        if isinstance(value, kind):
            return value
        self.report(key, f"{quoted(key)} must be {_KINDS[kind]}")
        return default

    def _name(self) -> str:
        return f"[{'.'.join(map(str, self.path))}]" if self.path else "the file"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {quoted(near[0])}?" if near else ""


def quoted(name: str) -> str:
    """A name from a file as a message shows it: printable, on one line and not too long."""
    shown = name if len(name) <= 60 else name[:57] + "..."
    return '"' + "".join(c if c.isprintable() else "?" for c in shown) + '"'
