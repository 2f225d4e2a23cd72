"""Patches: strategic merges as Kubernetes has them, and JSON 6902. Nothing that is patched is changed itself: it is shared by
all overlays that build on it.

Source: Kubernetes' strategic merge patch (keys by which lists are merged), RFC 6902 and RFC 6901.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from skerry.architecture.manifests.yaml import Node

MAX_STEPS: Final = 500_000
"""Entries of mappings and lists that are copied or looked at for all overlays of a repository."""
_KEYS: Final = {
    "containers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""By which entry the items of a list are the same; other lists are replaced as a whole."""
_PORT_KEYS: Final = ("containerPort", "port")
_DIRECTIVE: Final = "$patch"
_MAX_DEPTH: Final = 40
"""Steps of one pointer: what is added below them may be as deep again as one document."""


class NotApplied(Exception):
    """A patch that is not understood, or does not fit. Its text says which part."""


class TooMuch(Exception):
    """Applying takes more than anybody meant it to."""


class Steps:
    """What is left of `MAX_STEPS`."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def take(self, count: int) -> None:
        """Raises `TooMuch` when there are none left."""
        self._left -= count
        if self._left < 0:
            raise TooMuch


def merged(base: Node, patch: Node, steps: Steps, *, lists: bool = True) -> Node:
    """`base` with a strategic merge. Without `lists`, as for resources that Kubernetes does not know, lists are replaced."""
    steps.take(1 + len(base.fields) + len(patch.fields))
    if patch[_DIRECTIVE].text == "replace" or not base.fields:
        return replace(patch, fields={name: each for name, each in patch.fields.items() if name[:1] != "$"})
    fields = dict(base.fields)
    for name, value in patch.fields.items():
        known = fields.get(name)
        if name.startswith("$"):
            continue
        if value.missing or value[_DIRECTIVE].text == "delete":
            fields.pop(name, None)
        elif known is None:
            fields[name] = _bare(value, name, steps) if lists else value
        elif value.fields or (known.fields and not value.text and not value.items):
            fields[name] = merged(known, value, steps, lists=lists)
        elif lists and not value.text and (key := _key(name, value) or _key(name, known)):
            fields[name] = _list(known, value, key, steps)
        else:
            fields[name] = value
    return replace(base, fields=fields)


def _bare(value: Node, name: str, steps: Steps) -> Node:
    """A list that the base has not: items that would be taken away are not there either."""
    steps.take(len(value.items))
    if _key(name, value) and any(_DIRECTIVE in each.fields for each in value.items):
        return replace(value, items=[each for each in value.items if _DIRECTIVE not in each.fields])
    return value


def _key(name: str, value: Node) -> str:
    if name == "ports":
        return next((key for key in _PORT_KEYS if any(key in each.fields for each in value.items)), "")
    return _KEYS.get(name, "")


def _list(base: Node, patch: Node, key: str, steps: Steps) -> Node:
    steps.take(len(base.items) + len(patch.items))
    if any(each[_DIRECTIVE].text == "replace" for each in patch.items):
        return replace(patch, items=[each for each in patch.items if _DIRECTIVE not in each.fields])
    known = {each[key].text: each for each in base.items}
    found: dict[str, Node] = {}
    for each in patch.items:
        old = known.pop(each[key].text, None)
        if each[_DIRECTIVE].text != "delete":
            found[each[key].text] = each if old is None else merged(old, each, steps)
    # as kustomize does it: those of the patch come first, which a pointer of a later patch counts on
    return replace(base, items=[*found.values(), *known.values()])


def edited(base: Node, operations: Node, steps: Steps) -> Node:
    """`base` after a JSON patch. Raises `NotApplied` for an operation that does not fit; then none of them counts."""
    for each in operations.items:
        verb, pointer = each["op"].text, each["path"].text
        if verb == "test":
            continue
        if verb not in {"add", "replace", "remove"} or not pointer.startswith("/"):
            raise NotApplied(f"{verb or 'an operation without a verb'} {pointer}"[:120])
        if pointer.count("/") > _MAX_DEPTH:
            raise NotApplied(f"{verb} {pointer}"[:120])
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
        base = _edit(base, parts, verb, each["value"], steps, pointer)
    return base


def _edit(node: Node, parts: list[str], verb: str, value: Node, steps: Steps, pointer: str) -> Node:
    part, *rest = parts
    steps.take(1 + len(node.fields) + len(node.items))
    if node.items or (part == "-" and not node.fields):
        return replace(node, missing=False, items=_items(node.items, part, rest, verb, value, steps, pointer))
    known = node.fields.get(part)
    fields = dict(node.fields)
    if rest:
        if known is None:
            raise NotApplied(f"{verb} {pointer}"[:120])
        fields[part] = _edit(known, rest, verb, value, steps, pointer)
    elif verb == "add":
        fields[part] = value
    elif known is None:
        raise NotApplied(f"{verb} {pointer}"[:120])
    elif verb == "replace":
        fields[part] = value
    else:
        del fields[part]
    return replace(node, fields=fields)


def _items(
    given: list[Node], part: str, rest: list[str], verb: str, value: Node, steps: Steps, pointer: str
) -> list[Node]:
    items = list(given)
    at = len(items) if part == "-" else int(part) if part.isascii() and part.isdigit() and len(part) < 7 else -1
    if verb == "add" and not rest and 0 <= at <= len(items):
        items.insert(at, value)
    elif not 0 <= at < len(items):
        raise NotApplied(f"{verb} {pointer}"[:120])
    elif rest:
        items[at] = _edit(items[at], rest, verb, value, steps, pointer)
    elif verb == "remove":
        del items[at]
    else:
        items[at] = value
    return items
