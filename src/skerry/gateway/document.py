"""Reading a YAML document strictly: every error names the file and the line, and what is not expected is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from skerry.errors import ConfigurationError

MAX_DOCUMENT = 1024 * 1024
"""Bytes."""
_SIZE = re.compile(r"([0-9]{1,12}) ?(KiB|MiB|GiB)?")
_UNITS = {None: 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def read(path: Path) -> Section:
    """The mapping at the top of the file. Raises `ConfigurationError`, as every method below does."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", source=str(path)) from error
    if len(text) > MAX_DOCUMENT:
        raise ConfigurationError(f"larger than {MAX_DOCUMENT} bytes", source=str(path))
    return parse(text, str(path))


def parse(text: bytes | str, source: str) -> Section:
    """The mapping at the top of `text`; `source` is what errors call the document."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigurationError(f"not valid YAML: {error.problem}", source=source, line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError("not valid YAML", source=source) from error
    if node is None:
        raise ConfigurationError("the document is empty", source=source)
    return Section(node, source, "the document")


class Section:
    """One mapping of the document. Take what is known, then call `close`, which refuses what is left."""

    def __init__(self, node: yaml.Node, source: str, name: str) -> None:
        self._node = node
        self._source = source
        self._name = name
        self._entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if not isinstance(node, yaml.MappingNode):
            raise self.error(f"{name} must be a mapping")
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise self.error(f"{name}: a key must be text", key)
            if key.value in self._entries:
                raise self.error(f"{name}: {key.value!r} is there twice", key)
            self._entries[key.value] = (key, value)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def line(self) -> int:
        """Where the section begins, counted from 1."""
        return int(self._node.start_mark.line) + 1

    def error(self, message: str, node: yaml.Node | None = None) -> ConfigurationError:
        """An error that points at `node`, or at the section."""
        return ConfigurationError(message, source=self._source, line=(node or self._node).start_mark.line + 1)

    def error_at(self, key: str, message: str) -> ConfigurationError:
        """An error that points at the value of `key`."""
        return self.error(f"{key}: {message}", self._entries[key][1] if key in self._entries else None)

    def text(self, key: str, pattern: str, *, default: str | None = None) -> str:
        """A text that matches `pattern` as a whole."""
        node = self._take(key)
        if node is None:
            if default is None:
                raise self.error(f"{self._name}: {key!r} is missing")
            return default
        return self._as_text(node, key, pattern)

    def texts(self, key: str, pattern: str) -> tuple[str, ...] | None:
        """A list of texts, None when absent."""
        node = self._take(key)
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.error(f"{key}: must be a list of texts", node)
        return tuple(self._as_text(item, key, pattern) for item in node.value)

    def number(self, key: str, low: float, high: float, *, default: float) -> float:
        """A number from `low` to `high`."""
        node = self._take(key)
        if node is None:
            return default
        value = math.nan
        if node.tag in {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}:
            try:
                value = float(node.value)
            except ValueError:
                value = math.nan
        if not low <= value <= high:
            raise self.error(f"{key}: must be a number from {low:g} to {high:g}", node)
        return value

    def count(self, key: str, low: int, high: int, *, default: int) -> int:
        """A whole number from `low` to `high`."""
        node = self._entries[key][1] if key in self._entries else None
        value = self.number(key, low, high, default=default)
        if value != int(value):
            raise self.error(f"{key}: must be a whole number", node)
        return int(value)

    def size(self, key: str, low: int, high: int, *, default: int) -> int:
        """Bytes: a whole number, or one with KiB, MiB or GiB."""
        node = self._take(key)
        if node is None:
            return default
        match = _SIZE.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        value = int(match[1]) * _UNITS[match[2]] if match else -1
        if not low <= value <= high:
            raise self.error(f"{key}: must be a size from {low} to {high} bytes, for example 64 KiB or 1 MiB", node)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        node = self._take(key)
        if node is None:
            return default
        if node.tag != "tag:yaml.org,2002:bool":
            raise self.error(f"{key}: must be true or false", node)
        return str(node.value).lower() in {"true", "yes", "on"}

    def section(self, key: str) -> Section | None:
        """The mapping under `key`, None when absent."""
        node = self._take(key)
        return None if node is None else Section(node, self._source, key)

    def sections(self, key: str, *, most: int) -> Iterator[Section]:
        """The mappings of the list under `key`: at least one, at most `most`."""
        node = self._take(key)
        if not isinstance(node, yaml.SequenceNode) or not 0 < len(node.value) <= most:
            raise self.error(f"{key}: must be a list of 1 to {most} entries", node)
        for number, item in enumerate(node.value, start=1):
            yield Section(item, self._source, f"{key}[{number}]")

    def named_sections(self, *, pattern: str, most: int) -> Iterator[tuple[str, Section]]:
        """Every entry of this section as a mapping under its name."""
        if not 0 < len(self._entries) <= most:
            raise self.error(f"{self._name}: must have 1 to {most} entries")
        for name in tuple(self._entries):
            key, value = self._entries.pop(name)
            if not re.fullmatch(pattern, name):
                raise self.error(f"{self._name}: {name!r} is not a valid name", key)
            yield name, Section(value, self._source, name)

    def close(self) -> None:
        """Refuse every key that was not taken."""
        for name, (key, _) in self._entries.items():
            raise self.error(f"{self._name}: unknown key {name!r}", key)

    def _take(self, key: str) -> yaml.Node | None:
        entry = self._entries.pop(key, None)
        return None if entry is None else entry[1]

    def _as_text(self, node: yaml.Node, key: str, pattern: str) -> str:
        if node.tag != "tag:yaml.org,2002:str" or not isinstance(node, yaml.ScalarNode):
            raise self.error(f"{key}: must be text", node)
        value = str(node.value)
        if not re.fullmatch(pattern, value):
            raise self.error(f"{key}: {value[:80]!r} is not valid here", node)
        return value
