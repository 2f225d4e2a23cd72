"""One reading of a request's path, so that what is matched is what is forwarded.

A path is decoded and normalised exactly once. Whatever two parsers could read differently is refused.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from skerry.service.problem import Problem

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HIDDEN = re.compile(rb"%(?:2[fF]|5[cC])")
_STILL_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_SLASHES = re.compile(r"/{2,}")
_SAFE = "/-._~!$&'()*+,;=:@"


def canonical(raw: bytes) -> str:
    """The decoded path: absolute, without empty or dot segments. Raises `Problem` 400 for a path that is ambiguous."""
    if not raw.startswith(b"/"):
        raise _refused("it does not begin with a slash")
    if _BAD_ESCAPE.search(raw):
        raise _refused("it has a broken percent-escape")
    if _HIDDEN.search(raw):
        raise _refused("it has an encoded slash or backslash")
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise _refused("it is not UTF-8") from error
    if _CONTROL.search(path):
        raise _refused("it has a backslash or a control character")
    if _STILL_ESCAPED.search(path):
        raise _refused("it is encoded twice")
    path = _SLASHES.sub("/", path)
    # Some servers cut "..;x" to "..", so a parameter does not make a dot segment harmless.
    if any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/")):
        raise _refused("it has dot segments")
    return path


def encoded(path: str) -> str:
    """`path` as it goes on the wire."""
    return quote(path, safe=_SAFE)


def encoded_query(raw: bytes) -> str:
    """The query as it came; what may not stand in a URL, bytes that are not ASCII above all, is percent-encoded."""
    return quote(raw, safe=_SAFE + "?%[]{}|^`")


def _refused(why: str) -> Problem:
    return Problem(400, "bad_path", f"The path is not accepted: {why}.")
