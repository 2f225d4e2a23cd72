"""Adds a route to a gateway.yaml as a person would: after the last one. All that stands there, comments too, stays as it is."""

from __future__ import annotations

from typing import Any, Final

import yaml

from skerry.errors import ConfigurationError

MAX_DEPTH: Final = 100
"""Lists and mappings inside each other; an alias can be inside itself."""


def add_route(text: str, *, path: str, service: str, rewrite: str) -> str:
    """The text with a route from `path` to `service` at the end of `routes`.

    Raises `ConfigurationError` where that is not possible without a change of what is there. It is not checked whether the
    gateway takes the route: read the text again for that.
    """
    route = {"path": path, "methods": ["GET", "POST"], "service": service, "rewrite": rewrite}
    block = [f"- path: {path}", "  methods: [GET, POST]", f"  service: {service}", f"  rewrite: {rewrite}"]
    routes = _routes(text)
    if not isinstance(routes, yaml.SequenceNode) or (routes.flow_style and routes.value):
        raise _by_hand(block)
    if not routes.value:
        begin, end = routes.start_mark.index, routes.end_mark.index
        added = text[:begin].rstrip(" ") + "".join(f"\n  {line}" for line in block) + text[end:]
    else:
        lines = text.splitlines(keepends=True)
        last = _end(routes)
        if not lines[last].endswith("\n"):
            lines[last] += "\n"
        indent = " " * routes.start_mark.column
        lines[last + 1 : last + 1] = [f"{indent}{line}\n" for line in block]
        added = "".join(lines)
    try:
        wanted = yaml.safe_load(text)
        wanted["routes"].append(route)
        same = yaml.safe_load(added) == wanted
    except (yaml.YAMLError, RecursionError):
        same = False
    if not same:
        raise _by_hand(block)
    return added


def _routes(text: str) -> Any:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    return next((value for key, value in root.value if key.value == "routes"), None)


def _end(node: Any) -> int:
    """The number, from 0, of the last line of a node: that of its last text or bracket, not of what comes after it."""
    for _ in range(MAX_DEPTH):
        if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
            break
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    mark = node.end_mark
    ended_before = (
        mark.column == 0 and mark.line > node.start_mark.line
    )  # a block of text ends where the next line begins
    return int(mark.line - 1 if ended_before else mark.line)


def _by_hand(block: list[str]) -> ConfigurationError:
    return ConfigurationError(
        "a route cannot be added to the file as it is written; add it yourself:\n" + "\n".join(block)
    )
