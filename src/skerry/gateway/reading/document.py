"""A YAML or JSON document as nodes that know their lines, and what is wrong with it: all mistakes, not the first alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Never, TypeAlias

import yaml

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway.reading.memory import Memory

MAX_DOCUMENT: Final = 1024 * 1024
"""Bytes."""
MAX_DEPTH: Final = 64
"""Mappings and lists within one another."""
MAX_MISTAKES: Final = 50
"""So many are told; who made more has something else in the file than they think."""
STR: Final = "tag:yaml.org,2002:str"

Steps: TypeAlias = tuple[str | int, ...]
"""The way to a field from the top: keys and indexes."""

# libyaml is six times as quick; a reload must not wait for a parser. Wheels have it, some distributions do not.
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TooDeep(Exception):
    """More mappings and lists within one another than a document may have."""


class _Loader(_PARSER):  # type: ignore[misc] # which it is, is known when it runs
    """Remembers of which type a plain text is, for the same words come again and again; and bounds how deep a document goes,
    for libyaml goes as deep as it is told and then ends the process.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._seen: dict[str, str] = {}
        self._deep = 0

    def descend_resolver(self, node: Any, index: Any) -> None:  # noqa: ARG002 - the parser's signature
        self._deep += 1
        if self._deep > MAX_DEPTH:
            raise _TooDeep

    def ascend_resolver(self) -> None:
        self._deep -= 1

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)
        tag = self._seen.get(value)
        if tag is None:
            tag = self._seen[value] = super().resolve(kind, value, implicit)
        return tag


def written(steps: Steps) -> str:
    """`routes[0].match[1].path`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


class Document:
    """One document. What refuses a part of it goes on; `stop` raises all that was found.

    `label` says which of several documents it is, before each field; `memory` has what was read of it before.
    """

    def __init__(self, root: yaml.Node, source: str, *, label: str = "", memory: Memory | None = None) -> None:
        self.root = root
        self.source = source
        self.label = label
        self.memory = memory
        self._mistakes: list[ConfigurationError] = []

    def refuse(self, message: str, steps: Steps, node: yaml.Node | None = None) -> None:
        """Note a mistake at `node`, or where `steps` lead."""
        if len(self._mistakes) < MAX_MISTAKES:
            line = self.line(steps) if node is None else int(node.start_mark.line) + 1
            field = " ".join(part for part in (self.label, written(steps)) if part) or None
            self._mistakes.append(ConfigurationError(message, source=self.source, line=line, field=field))

    def stop(self) -> None:
        """Raise what was found, if anything was, in the order of lines."""
        if self._mistakes:
            fail(sorted(self._mistakes, key=lambda mistake: mistake.line or 0))

    @property
    def mistakes(self) -> tuple[ConfigurationError, ...]:
        """What was found until now."""
        return tuple(self._mistakes)

    def line(self, steps: Steps) -> int:
        """The line of a field, or of the nearest one around it. A route without `match` is its own only match."""
        node = self.root
        rest = list(steps)
        while rest:
            step = rest.pop(0)
            found = _child(node, step)
            if found is None:
                if step == "match" and rest:
                    rest.pop(0)
                    continue
                break
            node = found
        return int(node.start_mark.line) + 1


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector rest while a document is read.

    Reading makes tens of thousands of objects, none of them in a cycle, and for their number the collector would walk through
    all that the process has, again and again: 30 ms and more at a reload, in which a gateway answers nobody.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def fail(mistakes: Sequence[ConfigurationError]) -> Never:
    """Raise one mistake as itself, several as `Mistakes`."""
    raise mistakes[0] if len(mistakes) == 1 else Mistakes(mistakes)


def load(path: Path) -> str:
    """The text of a file that is to be read. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", source=str(path)) from error
    if len(content) > MAX_DOCUMENT:
        raise ConfigurationError(f"larger than {MAX_DOCUMENT} bytes", source=str(path))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError("not UTF-8 text", source=str(path)) from error


def compose(text: str, source: str, *, memory: Memory | None = None) -> Document:
    """The one document in `text`. Raises `ConfigurationError` when there is none or more than one."""
    found = compose_all(text, source)
    if not found:
        raise ConfigurationError("the document is empty", source=source)
    if len(found) > 1:
        line = int(found[1].root.start_mark.line) + 1
        raise ConfigurationError("a second document begins here", source=source, line=line)
    found[0].memory = memory
    return found[0]


def compose_all(text: str, source: str) -> list[Document]:
    """All documents in `text`, without those that are empty. Raises `ConfigurationError`."""
    if len(text) > MAX_DOCUMENT:
        raise ConfigurationError(f"larger than {MAX_DOCUMENT} bytes", source=source)
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigurationError(f"not valid YAML: {error.problem}", source=source, line=line) from error
    except (_TooDeep, RecursionError) as error:
        message = f"more than {MAX_DEPTH} mappings and lists within one another"
        raise ConfigurationError(message, source=source) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError("not valid YAML", source=source) from error
    return [Document(node, source) for node in nodes if node is not None and node.tag != "tag:yaml.org,2002:null"]


def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value  # type: ignore[no-any-return] # nodes are untyped
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]
    return None
