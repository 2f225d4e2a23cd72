"""Small values as Envoy's API writes them, in the JSON form of protobuf."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from skerry.envoy.plain import TYPES, Plain, extension, seconds, typed
from skerry.gateway.model import HeaderEdit, ValueMatch

__all__ = [
    "TYPES",
    "Plain",
    "edits",
    "enabled",
    "extension",
    "fingerprint",
    "header_value",
    "kibibytes",
    "quoted",
    "regex",
    "seconds",
    "share",
    "string",
    "substitution",
    "typed",
]

_SPECIAL = re.compile(r"[^A-Za-z0-9_/]")


def share(percent: float) -> Plain:
    """A share of 100, exact to a ten-thousandth."""
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def enabled(percent: float = 100.0) -> Plain:
    """The same where Envoy lets a runtime override it."""
    return {"default_value": share(percent)}


def kibibytes(size: int) -> int:
    """Bytes as whole KiB, rounded up."""
    return math.ceil(size / 1024)


def quoted(text: str) -> str:
    """`text` as an expression of RE2 that matches nothing else."""
    return _SPECIAL.sub(lambda found: "\\" + found[0] if found[0].isascii() else found[0], text)


def substitution(text: str) -> str:
    """`text` as what a match of RE2 is replaced by."""
    return text.replace("\\", "\\\\")


def regex(expression: str) -> Plain:
    """A matcher of the whole value."""
    return {"regex": expression}


def string(wanted: ValueMatch) -> Plain:
    """A matcher of a header or query parameter."""
    return {"safe_regex": regex(wanted.value)} if wanted.regex else {"exact": wanted.value}


def header_value(name: str, value: str, *, add: bool = False) -> Plain:
    """A header to set, or to add to those of its name. In Envoy's values, `%` begins a command."""
    action = "APPEND_IF_EXISTS_OR_ADD" if add else "OVERWRITE_IF_EXISTS_OR_ADD"
    return {
        "header": {"key": name, "value": value.replace("%", "%%")},
        "append_action": action,
        "keep_empty_value": True,
    }


def edits(request: HeaderEdit, response: HeaderEdit) -> Plain:
    """The edits of a route or backend, those that there are."""
    found: Plain = {}
    for side, edit in (("request", request), ("response", response)):
        values = [header_value(name, value) for name, value in edit.set]
        values += [header_value(name, value, add=True) for name, value in edit.add]
        if values:
            found[f"{side}_headers_to_add"] = values
        if edit.remove:
            found[f"{side}_headers_to_remove"] = list(edit.remove)
    return found


def fingerprint(*values: Any) -> str:
    """Eight characters that are others as soon as one of the values is."""
    text = json.dumps(values, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain(value: object) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
