"""What all files say of their calls, by name; a file is unpacked when something of it is first asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from skerry.architecture.code.calls import likely
from skerry.architecture.code.calls.raw import Expr, RawBind, RawBody, RawCall, RawCalls, RawFunction
from skerry.architecture.code.structure import Resolved
from skerry.architecture.source import values

_MAX_PLACES: Final = 30
"""Files that are looked at for one name, beside those that import the file in question."""


class Bodies:
    """All files; what is in `functions`, `bases` and the others is of those that were unpacked."""

    def __init__(self, raw: Mapping[str, RawCalls], known: Resolved) -> None:
        self._raw = raw
        self._importers: dict[str, list[str]] = defaultdict(list)
        for path, others in known.imports.items():
            for other in others:
                self._importers[other].append(path)
        self.functions: dict[tuple[str, str], RawFunction] = {}
        self._bodies: dict[str, RawBody] = {}
        self.imports: dict[str, dict[str, str]] = {}
        self.bases: dict[tuple[str, str], tuple[Expr, ...]] = {}
        self.binds: dict[tuple[str, str, str], list[RawBind]] = defaultdict(list)
        self.globals: dict[tuple[str, str], list[RawBind]] = defaultdict(list)
        self._calls: dict[tuple[str, str], list[RawCall]] = defaultdict(list)
        """By file and last name."""
        self._starring: dict[str, list[str]] = defaultdict(list)
        self._calling: dict[str, list[str]] = defaultdict(list)
        # the same is asked thousands of times
        self._given: dict[tuple[str, str], list[tuple[str, RawBind]]] = {}
        self._ordered: dict[tuple[str, str], list[str]] = {}
        for path, each in raw.items():
            for name in each.starred:
                self._starring[name].append(path)
            for name in each.called:
                self._calling[name].append(path)

    def of(self, path: str) -> RawBody:
        """Everything of one file, unpacked when it is first asked for; empty for what is no file of the repository."""
        found = self._bodies.get(path)
        if found is not None:
            return found
        head = self._raw.get(path)
        found = values.loads(RawBody, head.body.encode()) if head is not None and head.body else RawBody()
        self._bodies[path] = found
        self.imports[path] = dict(head.imports) if head is not None else {}
        self.functions |= {(path, each.name): each for each in found.functions}
        self.bases |= {(path, each.name): each.bases for each in found.classes}
        for bind in found.binds:
            self.binds[path, bind.scope, bind.name].append(bind)
            if (bind.scope != bind.function and bind.function) or bind.scope == "*":
                self.binds[path, "*", f"*{bind.name}"].append(bind)
            if bind.function == bind.scope and bind.function:
                self.globals[path, bind.name].append(bind)
        for call in found.calls:
            for name in likely.names(call):
                self._calls[path, name].append(call)
        return found

    def given(self, name: str, near: str) -> list[tuple[str, RawBind]]:
        """What attributes and items of this name are given in the same tree; a bounded number."""
        top = near.split("/", maxsplit=1)[0]
        known = self._given.get((name, top))
        if known is not None:
            return known
        found: list[tuple[str, RawBind]] = []
        for path in [path for path in self._starring.get(name, ()) if path.split("/")[0] == top][:_MAX_PLACES]:
            self.of(path)
            found += [(path, bind) for bind in self.binds.get((path, "*", f"*{name}"), ())]
        self._given[name, top] = found[:_MAX_PLACES]
        return self._given[name, top]

    def named(self, name: str, near: str = "") -> list[tuple[str, RawCall]]:
        """The calls of anything by this name: first in the file `near`, then in those that import it, then in some others."""
        found: list[tuple[str, RawCall]] = []
        for path in self._near(name, near) if near else self._calling.get(name, ()):
            self.of(path)
            found += [(path, call) for call in self._calls.get((path, name), ())]
        return found

    def _near(self, name: str, near: str) -> list[str]:
        """The files that call something by this name, those first that may mean what stands in `near`."""
        known = self._ordered.get((name, near))
        if known is None:
            importers = set(self._importers.get(near, ()))
            ordered = sorted(self._calling.get(name, ()), key=lambda path: (path != near, path not in importers))
            known = self._ordered[name, near] = ordered[: max(_MAX_PLACES, len(importers) + 1)]
        return known
