"""What names, paths, hosts and patterns of a gateway may look like.

Patterns are for the reader and its schema, reasons (`wrong_...`) for the checker.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from skerry.errors import MissingExtra

NAME: Final = r"[a-z][a-z0-9-]{0,62}"
NAME_HINT: Final = "lower-case letters, digits and hyphens, a letter first"
PART_NAME: Final = r"[a-z][a-z0-9_]{0,62}"
PART_HINT: Final = "lower-case letters, digits and underscores, a letter first"
PARAMETER: Final = r"[^\x00-\x1f\x7f&=#]{1,200}"
PARAMETER_HINT: Final = "the name of a parameter"
HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}"
HEADER_HINT: Final = "the name of a header"
VALUE: Final = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
VALUE_HINT: Final = "printable ASCII without spaces around it"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOSTNAME: Final = rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*"
HOSTNAME_HINT: Final = "a host name in lower case, or one with *. before it"
HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*"
HOST_HINT: Final = "a host name in lower case"
URL: Final = r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
URL_HINT: Final = "http://HOST:PORT or https://HOST:PORT"
ORIGIN: Final = (
    r"\*|[a-z][a-z0-9+.-]*://(?:\*\.)?[A-Za-z0-9._-]+(?::[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?"
)
ORIGIN_HINT: Final = "*, an origin such as https://shop.example, or one with *. before its host"

_CHARACTER: Final = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
PATH: Final = rf"/(?:{_CHARACTER}+/)*{_CHARACTER}*"
PATH_HINT: Final = "a path that begins with a slash, percent-encoded, without empty segments"
TEMPLATE: Final = rf"/|(?:/(?:{_CHARACTER}+|\{{[a-z][a-z0-9_]*\}}))+"
TEMPLATE_HINT: Final = "a path whose segments are text or {variables}"
PART_PATH: Final = rf"(?:{TEMPLATE})(?:\?(?:{_CHARACTER}|[/?]|\{{[a-z][a-z0-9_]*\}})*)?"
MAX_PATTERN: Final = 1000

_VARIABLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2[eE]){1,2}(?=[/;]|$)")
_HIDDEN: Final = re.compile(r"%(?:2[fF]|5[cC]|00)")

FRAMING: Final = frozenset(
    {
        *("connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that belong to one connection, or say where a message ends or to whom it goes."""
IDENTITY: Final = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"}
)
"""Headers in which the gateway itself says who asks."""


def variables(path: str) -> list[str]:
    """The names of a template's variables, in order."""
    return _VARIABLE.findall(path)


def shape(path: str) -> str:
    """A template with its variables' names taken out: two of one shape match the same paths."""
    return _VARIABLE.sub("{}", path)


def wrong_path(path: str, pattern: str = PATH, hint: str = PATH_HINT) -> str | None:
    """Why a path that is written in a specification cannot be, or None."""
    if not re.fullmatch(pattern, path):
        return f"{path[:80]!r} is not {hint}"
    if _DOT_SEGMENT.search(path.partition("?")[0]):
        return f"{path[:80]!r} has a dot segment"
    if _HIDDEN.search(path):
        return f"{path[:80]!r} has an encoded slash, backslash or NUL: no request may"
    return None


def wrong_edit(name: str) -> str | None:
    """Why an edit of headers may not touch a header, or None."""
    if not re.fullmatch(HEADER_NAME, name):
        return f"{name[:80]!r} is not the name of a header"
    if name.lower() == "host":
        return "Host is not edited as a header: use rewrite.host"
    if name.lower() in FRAMING:
        return f"{name} belongs to one connection and says how messages end: the gateway itself sets it"
    if name.lower() in IDENTITY:
        return f"{name} says who asks: the gateway itself sets it"
    return None


def wrong_pattern(pattern: str) -> str | None:
    """Why a regular expression cannot be used, or None. Raises `MissingExtra` without RE2."""
    if not pattern or len(pattern) > MAX_PATTERN:
        return f"must be a regular expression of 1 to {MAX_PATTERN} characters"
    re2 = _re2()
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it cannot be read"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return f"{pattern[:80]!r} is not a regular expression of RE2: {text}{_foreign(pattern)}"
    return None


def _foreign(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error:
        return ""
    return " (Python knows it; RE2, which is linear, has no look-around and no back-references)"


def _re2() -> Any:
    try:
        return importlib.import_module("re2")
    except ImportError as error:
        raise MissingExtra("A route that matches by regular expression", "gateway") from error


def meets(first: str, second: str) -> str | None:
    """The host names that fit both of two, each a name or `*.` and a name: the narrower one, or None."""
    if first == second:
        return first
    for wide, narrow in ((first, second), (second, first)):
        if wide.startswith("*.") and narrow.removeprefix("*").endswith(wide[1:]):
            return narrow
    return None
