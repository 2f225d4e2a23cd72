"""Fields of foreign JSON: what they have to be, and what is said when they are not."""

from __future__ import annotations

import base64
import binascii
import math
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{11,22}={0,2}")
_SIZES: Final = {12: 8, 24: 16}
"""Characters of base64 with its padding, to bytes."""
MAX_ID: Final = 64
MAX_LINKS: Final = 128
"""Of one span; a batch may be larger, and the services behind it are hardly more."""
LATEST: Final = 4e18
"""Nanoseconds since 1970 that are a time at all: the year 2096."""
UNKNOWN_SERVICE: Final = "unknown_service"


class Malformed(Exception):
    """One span or one value that is not as its format has it. The text tells no value."""


def mapping(value: object) -> Mapping[str, Any]:
    """`value`, or nothing where it is no object."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """`value`, or nothing where it is no list."""
    return value if isinstance(value, list) else []


def identity(value: object, field: str) -> str:
    """An id in lower-case hex without leading zeros; empty for none where `field` is empty, which means that it may be missing.

    Base64 is recognised by its length: 12 characters for a span, 24 for a trace.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:x}"
    if value is None or value == "":
        if field:
            raise Malformed(f"a span has no {field}")
        return ""
    if not isinstance(value, str) or len(value) > MAX_ID:
        raise Malformed(f"{field or 'the parent'} of a span is no id")
    if len(value) in _SIZES and not _HEX.fullmatch(value) and _BASE64.fullmatch(value):
        try:
            decoded = base64.b64decode(value, altchars=b"-_" if set(value) & {"-", "_"} else None)
        except (ValueError, binascii.Error):
            decoded = b""
        if len(decoded) == _SIZES[len(value)]:
            value = decoded.hex()
    if _HEX.fullmatch(value):
        value = value.lower().lstrip("0")
        if not value and field:
            raise Malformed(f"{field} of a span is zero")
    return sys.intern(value)


def links(given: object, trace: str, span: str) -> tuple[tuple[str, str], ...]:
    """Other spans that one names, by its fields for their ids; what is no id is left out."""
    found: dict[tuple[str, str], None] = {}
    for each in listed(given)[:MAX_LINKS]:
        said = mapping(each)
        with suppress(Malformed):
            found[identity(said.get(trace), trace), identity(said.get(span), span)] = None
    return tuple(found)


def number(value: object, field: str) -> float:
    """A time or a length that is not negative and not beyond all times."""
    if isinstance(value, str) and len(value) < 32:
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{field} of a span is no number")
    try:
        found = float(value)
    except OverflowError:
        raise Malformed(f"{field} of a span is no time") from None
    if not math.isfinite(found) or not 0 <= found <= LATEST:
        raise Malformed(f"{field} of a span is no time")
    return found


def service_name(value: object) -> str:
    """The name of a service; as OpenTelemetry has it where there is none."""
    return sys.intern(value.strip()[:200]) if isinstance(value, str) and value.strip() else UNKNOWN_SERVICE
