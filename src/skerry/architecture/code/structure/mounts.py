"""Routers that are put below a path in another file: `include_router`, `register_blueprint`, `mount`, Django's `include`."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from skerry.architecture.code.structure.graph import Names
from skerry.architecture.code.structure.raw import Mount, Structure
from skerry.architecture.code.structure.walk import Walk, argument, text_of

PATTERNS: Final = "urlpatterns"
"""What the routes of a file of Django's are registered with."""
_DEPTH: Final = 8
"""Routers within routers."""
_MOST: Final = 4
"""Paths below which one router is put; more of them say nothing of any one."""


def read(found: Walk) -> tuple[Mount, ...]:
    """Every router that the file puts below a path, or includes as it is."""
    return tuple(_mounts(found))


def _mounts(found: Walk) -> Iterator[Mount]:
    for _, call in found.calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else found.dotted(call.func).rpartition(".")[2]
        owner = found.dotted(call.func).rpartition(".")[0]
        if name in {"include_router", "register_blueprint"} and call.args:
            prefix = text_of(argument(call, -1, "prefix", "url_prefix"))
            yield Mount(
                owner, found.dotted(call.args[0]), prefix or "", replaces=name == "register_blueprint" and bool(prefix)
            )
        elif name == "mount" and len(call.args) > 1:
            yield Mount(owner, found.dotted(call.args[1]), text_of(call.args[0]) or "")
        elif name in {"path", "re_path", "url"} and len(call.args) > 1 and isinstance(call.args[1], ast.Call):
            yield from _included(found, call, call.args[1])


def _included(found: Walk, call: ast.Call, inner: ast.Call) -> Iterator[Mount]:
    if found.dotted(inner.func).rpartition(".")[2] != "include" or not inner.args:
        return
    first = inner.args[0]
    if isinstance(first, (ast.Tuple, ast.List)) and first.elts:
        first = first.elts[0]
    module = text_of(first) or found.dotted(first)
    if module and "?" not in module:
        yield Mount(PATTERNS, f"{module}.{PATTERNS}", text_of(call.args[0]) or "")


@dataclass(slots=True)
class Prefixes:
    """What stands before the paths of a router, over all files."""

    files: Mapping[str, Structure]
    names: Names
    _above: dict[tuple[str, str], list[tuple[str, Mount]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for path, each in self.files.items():
            for mount in each.mounts:
                held = self.names.held(path, mount.router)
                if held is not None and held[0] != path:
                    self._above[held].append((path, mount))

    def of(self, file: str, router: str, own: str = "", depth: int = 0) -> tuple[str, ...]:
        """Every prefix of a router of `file` whose own prefix is `own`; one empty text where it is mounted nowhere."""
        found: list[str] = []
        for other, mount in self._above.get((file, router), ())[:_MOST]:
            here = mount.prefix if mount.replaces else mount.prefix + own
            if depth < _DEPTH:
                found += self.of(other, mount.owner, here, depth + 1)
        return tuple(dict.fromkeys(found))[:_MOST] or (own,)
