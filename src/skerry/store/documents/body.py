"""What a document may be: the plain JSON that every engine holds and gives back.

So the rules are those of the strictest engine for each point: PostgreSQL takes no NUL, MongoDB no number beyond 64 bits and no
name with a dot or a dollar in front, and none takes NaN or a lone surrogate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from skerry.errors import InvalidDocument

MAX_BYTES: Final = 1024 * 1024
"""Of one document, as compact JSON."""
MAX_DEPTH: Final = 64
"""Objects and arrays inside each other, the document itself included."""
MAX_NAME: Final = 255
"""Characters of one name."""
MAX_ID: Final = 255
"""Characters of an id."""
MAX_INTEGER: Final = 2**63 - 1
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
SHOWN: Final = 100


def dump(body: Mapping[str, Any], where: str) -> str:
    """The document as JSON. Raises `InvalidDocument` that begins with `where` and names the place, never a value."""
    if not isinstance(body, dict):
        raise InvalidDocument(f"{where}: a document is an object with names, not a {type(body).__name__}")
    try:
        _check(body, 1)
    except _RefusedError as refused:
        place = ".".join(reversed(refused.names))[:SHOWN]  # names may be the caller's own, so they are cut
        raise InvalidDocument(f"{where}: {place}: {refused}" if place else f"{where}: {refused}") from None
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_BYTES:
        raise InvalidDocument(f"{where}: {size} bytes are more than a document may have ({MAX_BYTES})")
    return text


def load(text: str) -> Any:
    """What `dump` was given. PostgreSQL writes large floats without an exponent: beyond 64 bits it was one."""
    return json.loads(text, parse_int=_number)


def checked_id(value: object, where: str) -> str:
    """The id, if it is one. Raises `InvalidDocument`."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID or not is_text(value) or _CONTROL.search(value):
        raise InvalidDocument(f"{where}: an id is a text of 1 to {MAX_ID} characters, none of them a control character")
    return str(value)


def is_text(value: object) -> bool:
    """Whether it is a text that every engine takes: valid Unicode, without NUL."""
    if not isinstance(value, str) or "\x00" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def at(body: Any, field: str) -> Any:
    """What stands at a path of names; None when nothing does."""
    for name in field.split("."):
        if not isinstance(body, dict):
            return None
        body = body.get(name)
    return body


class _RefusedError(Exception):
    """Why, and on the way out of the recursion the names that lead there, the innermost first."""

    def __init__(self, reason: str) -> None:
        self.names: list[str] = []
        super().__init__(reason)


def _check(value: Any, depth: int) -> None:
    if isinstance(value, dict):
        for name in value:
            _check_name(name)
        _check_inside(value.items(), depth)
    elif isinstance(value, list | tuple):
        _check_inside(enumerate(value), depth)
    elif reason := _reason(value):
        raise _RefusedError(reason)


def _reason(value: Any) -> str:
    """Why this is no plain value; empty when it is one."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return "" if is_text(value) else "the text holds a NUL or a lone surrogate"
    if isinstance(value, int):
        fits = -MAX_INTEGER - 1 <= value <= MAX_INTEGER
        return "" if fits else "a whole number has at most 64 bits; use a text for more"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "NaN and infinity are no JSON numbers"
    return f"a {type(value).__name__} is not plain JSON"


def _check_inside(items: Iterable[tuple[object, Any]], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH}")
    for name, inner in items:
        try:
            _check(inner, depth + 1)
        except _RefusedError as refused:
            refused.names.append(str(name))
            raise


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise _RefusedError(f"a name is a text, not a {type(name).__name__}")
    if not 0 < len(name) <= MAX_NAME:
        raise _RefusedError(f"a name has 1 to {MAX_NAME} characters")
    if name.startswith("$") or "." in name or not is_text(name):
        raise _RefusedError(
            "no name begins with $ or holds a dot, a NUL or a lone surrogate, for not every engine takes it"
        )


def _number(digits: str) -> int | float:
    number = int(digits)
    return number if -MAX_INTEGER - 1 <= number <= MAX_INTEGER else float(digits)
