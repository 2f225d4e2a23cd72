"""What of a part's JSON goes into the whole, as JSON text.

A part that nobody shapes goes in as the service wrote it, once it is known to be JSON: so its numbers keep their digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skerry.gateway import strict_json
from skerry.gateway.model import Shape

_MARK = b"\xef\xbb\xbf"


class Shaping:
    """A `Shape`, ready. Of a list of objects each is shaped; on the way down, lists are gone through likewise.

    A field that is not there is left out. A part that is null stays null.
    """

    __slots__ = ("_names", "_picked")

    def __init__(self, shape: Shape) -> None:
        self._picked: Mapping[str, Any] | None = _tree(shape.pick) if shape.pick else None
        self._names = dict(shape.rename)

    def text(self, body: bytes) -> bytes:
        """`body`, shaped. Raises `ValueError` for what is no JSON, too deep, or to be shaped and no object."""
        body = body.removeprefix(_MARK)
        found = strict_json.loads(body)
        if self._picked is None and not self._names:
            return body.strip(b" \t\r\n")
        shaped = self._each(found)
        try:
            return json.dumps(shaped, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot write
            return json.dumps(shaped, separators=(",", ":"), allow_nan=False).encode()

    def _each(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [self._one(each) for each in value]
        return self._one(value)

    def _one(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("only objects can be shaped")  # noqa: TRY004 - as for any other text that is not what it should be
        kept = value if self._picked is None else _pick(value, self._picked)
        names = self._names
        shaped = {name: inner for name, inner in kept.items() if name not in names}
        # a renamed field takes the place of one that was called so before
        shaped.update((names[name], inner) for name, inner in kept.items() if name in names)
        return shaped


def _tree(paths: tuple[str, ...]) -> Mapping[str, Any]:
    """`a.b` and `a.c` as {a: {b: None, c: None}}; None is all there is, whatever longer paths say."""
    root: dict[str, Any] = {}
    for path in paths:
        *above, last = path.split(".")
        level = root
        for name in above:
            level = level.setdefault(name, {})
            if level is None:
                break
        else:
            level[last] = None
    return root


def _pick(value: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, below in tree.items():
        if name in value:
            inner = _below(value[name], below)
            if inner is not _NOTHING:
                found[name] = inner
    return found


_NOTHING = object()


def _below(value: Any, tree: Mapping[str, Any] | None) -> Any:
    if tree is None or value is None:
        return value
    if isinstance(value, dict):
        return _pick(value, tree)
    if isinstance(value, list):
        return [_pick(each, tree) for each in value if isinstance(each, dict)]
    return _NOTHING
