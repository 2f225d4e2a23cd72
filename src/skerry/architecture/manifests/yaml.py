"""YAML as a bounded tree in which every node knows its line.

Nothing is constructed from tags. A document that grows beyond the limits when its aliases are followed is refused, so a few
lines cannot become millions of nodes; merge keys (`<<`) are followed as Compose files use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from skerry.architecture.source import Unreadable

MAX_NODES: Final = 200_000
"""Nodes of one file, those behind aliases counted as often as they are reached."""
MAX_DEPTH: Final = 60
MAX_ALIASES: Final = 2_000
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, eq=False)
class Node:
    """A mapping, a list, a text, or nothing. Reading what is not there gives an empty node, never an error."""

    line: int = 0
    text: str = ""
    file: str = ""
    """Where it was read from: a patch puts nodes of one file into another's."""
    fields: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    weight: int = 1
    missing: bool = False
    """Whether there is no such node, or it is null."""

    def __getitem__(self, name: str) -> Node:
        return self.fields.get(name, _NOTHING)

    def at(self, *names: str) -> Node:
        """What stands below `names`, one within the other."""
        node = self
        for name in names:
            node = node[name]
        return node

    def texts(self) -> tuple[str, ...]:
        """The texts of a list, or the one text."""
        return tuple(each.text for each in self.items if each.text) or ((self.text,) if self.text else ())

    def pairs(self) -> Iterator[tuple[str, Node]]:
        """A mapping's entries, or those of a list of `name=value`; the node of a bare `name` is missing."""
        yield from self.fields.items()
        for item in self.items:
            name, equals, value = item.text.partition("=")
            if name:
                yield name, Node(item.line, value, item.file, missing=not equals)


_NOTHING: Final = Node(missing=True)


def documents(text: str, file: str = "", *, before: int = 0) -> list[Node]:
    """Every document of `text`, which stands in `file` behind so many lines.

    Raises `Unreadable` for what is no YAML or is too much of it.
    """
    tree = _Tree(file, before)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            tree.take(event)
    except (yaml.YAMLError, RecursionError, MemoryError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(f"not YAML{where}") from None
    return tree.roots


@dataclass(slots=True)
class _Open:
    node: Node
    mapping: bool
    anchor: str | None
    key: Node | None = None
    merges: list[Node] = field(default_factory=list)


class _Tree:
    def __init__(self, file: str, before: int) -> None:
        self._file = file
        self._before = before
        self.roots: list[Node] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._aliases = 0

    def take(self, event: Any) -> None:
        # the marks are typed as optional, which they are only in events that are made by hand
        line: int = event.start_mark.line + 1 + self._before
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
        elif isinstance(event, yaml.AliasEvent):
            self._aliases += 1
            target = self._anchors.get(event.anchor or "")
            if target is None or self._aliases > MAX_ALIASES:
                why = "too many aliases" if target else "an alias to nothing, or to what it stands in"
                raise Unreadable(f"{why}, in line {line}")
            self._place(target)
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(line, event.value, self._file)
            if event.implicit[0] and event.value in _NULL:
                node.missing, node.text = True, ""
            self._remember(event.anchor, node)
            self._place(node)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._open) >= MAX_DEPTH:
                raise Unreadable(f"nested deeper than {MAX_DEPTH}, in line {line}")
            self._remember(event.anchor, None)
            mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(Node(line, "", self._file), mapping, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()

    def _remember(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _close(self) -> None:
        done = self._open.pop()
        for source in done.merges:
            for each in source.items or [source]:
                for name, value in each.fields.items():
                    done.node.fields.setdefault(name, value)
        self._remember(done.anchor, done.node)
        self._place(done.node)

    def _place(self, node: Node) -> None:
        self._nodes += node.weight
        if self._nodes > MAX_NODES:
            raise Unreadable(f"more than {MAX_NODES} nodes when its aliases are followed")
        if not self._open:
            self.roots.append(node)
            return
        top = self._open[-1]
        top.node.weight += node.weight
        if not top.mapping:
            top.node.items.append(node)
        elif top.key is None:
            top.key = node
        else:
            if top.key.text == "<<":
                top.merges.append(node)
            else:
                top.node.fields[top.key.text] = node
            top.key = None
