"""Which headers cross the gateway, in both directions.

A client can say nothing that a service would take for the gateway's word: who the user is, where the request came from, and
what travels between services. Each name is judged once and remembered, for the same few come with every request.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from skerry.gateway.wire.lines import PASSES, Lines

HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade"
    b" expect http2-settings".split()
)
OURS: Final = frozenset(b"forwarded via traceparent tracestate".split())
TRUSTED_INSIDE: Final = frozenset(
    b"x-real-ip x-user x-remote-user remote-user x-client-cert x-original-url x-original-host x-client-ip true-client-ip"
    b" cf-connecting-ip x-http-method-override x-http-method x-method-override".split()
)
TRUSTED_INSIDE_PREFIXES: Final = (
    b"skerry-",
    b"x-forwarded-",
    b"x-user-",
    b"x-authenticated-",
    b"x-internal-",
    b"x-envoy-",
    b"x-rewrite-",
    b"x-jwt-",
)
_MOST = 2048


class Crossing(IntEnum):
    """What becomes of a header with a certain name."""

    PASSES = PASSES
    DROPPED = 1
    HOST = 2
    LENGTH = 3
    CODING = 4
    CONNECTION = 5
    EXPECT = 6
    UPGRADE = 7
    CONTEXT = 8
    """What is believed of a caller's context: its trace, its time-out; and, behind trusted hops, where it came from."""
    REFUSED = 9
    """What another server might take for framing."""


_KNOWN: dict[bytes, Crossing] = {
    b"host": Crossing.HOST,
    b"content-length": Crossing.LENGTH,
    b"transfer-encoding": Crossing.CODING,
    b"connection": Crossing.CONNECTION,
    b"expect": Crossing.EXPECT,
    b"upgrade": Crossing.UPGRADE,
    b"content_length": Crossing.REFUSED,
    b"transfer_encoding": Crossing.REFUSED,
    b"traceparent": Crossing.CONTEXT,
    b"tracestate": Crossing.CONTEXT,
    b"skerry-timeout": Crossing.CONTEXT,
    b"x-forwarded-for": Crossing.CONTEXT,
    b"x-forwarded-proto": Crossing.CONTEXT,
}


class Judge:
    """Remembers verdicts on names of headers, how hosts are read, and header lines, at most a few thousand of each."""

    __slots__ = ("_known", "hosts", "lines")

    def __init__(self) -> None:
        self.hosts: dict[bytes, tuple[str, int | None]] = {}
        self.lines: Lines = Lines(self.verdict)
        self._known: dict[bytes, Crossing] = dict(_KNOWN)

    def remember(self, authority: bytes, host: str, port: int | None) -> None:
        """How a Host header was read."""
        if len(self.hosts) < _MOST:
            self.hosts[authority] = (host, port)

    def verdict(self, name: bytes) -> Crossing:
        """What becomes of a header called `name`, in lower case."""
        verdict = self._known.get(name)
        if verdict is None:
            verdict = Crossing.DROPPED if _dropped(name) else Crossing.PASSES
            if len(self._known) < _MOST:
                self._known[name] = verdict
        return verdict


def crossing(name: bytes) -> Crossing:
    """What becomes of a request's header called `name`, in lower case."""
    found = _KNOWN.get(name)
    if found is not None:
        return found
    return Crossing.DROPPED if _dropped(name) else Crossing.PASSES


def _dropped(name: bytes) -> bool:
    # An underscore turns into a dash in CGI and WSGI, so `x_user_id` would pass for `x-user-id` there.
    known = name in HOP_BY_HOP or name in OURS or name in TRUSTED_INSIDE
    return known or b"_" in name or name.startswith(TRUSTED_INSIDE_PREFIXES)
