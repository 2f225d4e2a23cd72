"""Fields that are nobody's business once a saga has ended, and nobody's but its steps' before.

A path names the members of JSON objects on the way to a value, with dots between; lists on the way are gone through item by
item, and `*` stands for every member, or for a value that has none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from skerry.errors import DefinitionError

HIDDEN: Final = "[redacted]"
WHOLE: Final = ""
"""The input's place among the names of steps."""

Redactions = Mapping[str, Collection[str]]


def checked(paths: Collection[str], what: str) -> tuple[str, ...]:
    """Paths as they are kept. Raises `DefinitionError` for what is none."""
    if isinstance(paths, str) or not all(isinstance(path, str) and all(path.split(".")) for path in paths):
        raise DefinitionError(f"what is redacted of {what} is a list of paths such as 'customer.email'")
    return tuple(paths)


def redacted(text: str, paths: Collection[str]) -> str:
    """JSON in which the values at these paths are hidden; what is not there is no error."""
    if not paths:
        return text
    value = json.loads(text)
    for path in paths:
        value = _without(value, path.split("."))
    return json.dumps(value)


def _without(value: Any, parts: list[str]) -> Any:
    if not parts:
        return HIDDEN
    if isinstance(value, list):
        return [_without(item, parts) for item in value]
    if not isinstance(value, dict):
        return HIDDEN if parts == ["*"] else value
    first, *rest = parts
    return {name: _without(item, rest) if first in {name, "*"} else item for name, item in value.items()}
