"""One reading of a request's target, so that what is matched is what is forwarded.

A path has one canonical form, and it is the one that goes to the service: escapes of characters that need none are undone
once, the others are in capitals, slashes that follow one another are one, dot segments are resolved (RFC 3986, section 6.2.2).
Whatever two parsers could read differently is refused.
"""

from __future__ import annotations

import re

from skerry.gateway.wire.faults import BadMessage

_SEGMENT = rb"[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*+"
_PLAIN = re.compile(rb"/(?:" + _SEGMENT + rb"/)*+(?:" + _SEGMENT + rb")?")
_ALLOWED = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*+")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHES = re.compile(rb"/{2,}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HIDDEN = frozenset(b"/\\\x00")
_QUERY = re.compile(rb"[!\"$-~]*+")


def canonical(raw: bytes) -> str:
    """The canonical form of a path, in ASCII and absolute. Raises `BadMessage` 400 for a path that is ambiguous.

    It is its own canonical form.
    """
    if _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    if not _ALLOWED.fullmatch(raw):
        raise _refused("it has a character that does not belong in a path, or a broken percent-escape")
    path = _SLASHES.sub(b"/", _ESCAPE.sub(_undone, raw))
    segments: list[bytes] = []
    parts = path.split(b"/")[1:]
    for part in parts:
        bare = part.partition(b";")[0]
        if bare in {b".", b".."} and bare != part:  # some servers cut "..;x" to ".."
            raise _refused("it has a dot segment with a parameter")
        if part == b"..":
            if not segments:
                raise _refused("it leads out of the root")
            segments.pop()
        elif part != b".":
            segments.append(part)
    if parts[-1] in {b".", b".."} and (not segments or segments[-1]):
        segments.append(b"")
    return "/" + b"/".join(segments).decode("ascii")


def canonical_query(raw: bytes) -> str:
    """The query as it came: it is the service's to read. Raises `BadMessage` 400 for what does not belong in a URL."""
    if not _QUERY.fullmatch(raw):
        raise BadMessage(
            400, "bad_query", "The query is not accepted: it has a character that does not belong in a URL."
        )
    return raw.decode("ascii")


def template(path: str) -> tuple[str, ...]:
    """The segments of a path template, those in braces as `{name}`."""
    return tuple(path.split("/")[1:])


def _undone(escape: re.Match[bytes]) -> bytes:
    value = int(escape[1], 16)
    if value in _HIDDEN:
        raise _refused("it has an encoded slash, backslash or NUL")
    return bytes([value]) if value in _UNRESERVED else escape[0].upper()


def _refused(why: str) -> BadMessage:
    return BadMessage(400, "bad_path", f"The path is not accepted: {why}.")
