"""Which pages of other origins may call a route and read its answers: the Fetch standard's CORS protocol.

Everything that can be said beforehand is put together once, so that a request costs a look into a dictionary. What the service
itself says about CORS is replaced: `REPLACED` names the headers that do not go on. Source: Fetch, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from skerry.errors import ConfigurationError
from skerry.gateway.model import Cors
from skerry.service.problem import Answer

RawHeaders = Iterable[tuple[bytes, bytes]]
Pairs = list[tuple[bytes, bytes]]

REPLACED = frozenset(
    b"access-control-" + name
    for name in (
        b"allow-origin",
        b"allow-credentials",
        b"allow-methods",
        b"allow-headers",
        b"expose-headers",
        b"max-age",
    )
)
"""Headers of a service's answer that the gateway answers for on a route with `Cors`."""
MAX_KNOWN = 256
"""Origins whose headers are kept ready. Those beyond are looked at anew each time, so a stranger's do not fill the memory."""
MAX_ECHOED = 1024
"""Bytes of `Access-Control-Request-Headers` that are said back."""
_ORIGIN = re.compile(r"(https?)://(\*\.)?([a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_LABELS = re.compile(rb"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_TOKENS = re.compile(rb"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*)*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PREFLIGHT_VARY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


class Rules:
    """The answers to preflights, and the headers of all other answers, of one route.

    An origin is compared byte for byte with those allowed, as browsers write it: lower case, no path, the scheme's own port
    left out. `https://*.example.com` is any subdomain, not the domain itself. `null`, which every sandboxed page and every
    local file says of itself, is only met by `*`. Raises `ConfigurationError` for an origin that no browser sends, and for
    `*` with credentials: then any page of the world could act in the user's name.

    Example: `Rules(Cors(origins=("https://shop.example",))).headers_for(b"https://shop.example")`
    """

    __slots__ = (
        "_any",
        "_cors",
        "_echo",
        "_exact",
        "_known",
        "_preflight",
        "_refused",
        "_shared",
        "_suffixes",
        "_told",
    )

    def __init__(self, cors: Cors) -> None:
        _check(cors)
        self._cors = cors
        self._any = "*" in cors.origins
        self._exact = frozenset(origin.encode() for origin in cors.origins)
        self._suffixes = tuple(_split(origin) for origin in cors.origins if "*." in origin)
        expose = [(b"access-control-expose-headers", ", ".join(cors.expose).encode())] if cors.expose else []
        credentials = [(b"access-control-allow-credentials", b"true")] if cors.credentials else []
        self._told: Pairs = [*credentials, *expose]
        self._shared: Pairs = [(b"access-control-allow-origin", b"*"), *expose]
        # the answer differs by origin even for those who are told nothing, or a cache would serve it to those allowed
        self._refused: Pairs = [(b"vary", b"Origin")]
        self._known: dict[bytes, Pairs] = {}
        # with credentials `*` is a name like any other, so what was asked for is said back instead
        self._echo = cors.credentials
        self._preflight: Pairs = [(b"access-control-max-age", b"%d" % cors.max_age), *credentials]

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this origin may read the answers."""
        if self._any or origin in self._exact:
            return True
        for start, end in self._suffixes:
            middle = origin[len(start) : -len(end)]
            if origin.startswith(start) and origin.endswith(end) and _LABELS.fullmatch(middle):
                return True
        return False

    def headers_for(self, origin: bytes | None) -> Pairs:
        """What an answer to a request from `origin` (None: it said none) has to say, instead of what the service said."""
        if self._any:
            return self._shared.copy()
        if origin is None:
            return self._refused.copy()
        known = self._known.get(origin)
        if known is None:
            if not self.allows(origin):
                return self._refused.copy()
            known = [(b"access-control-allow-origin", origin), *self._told, (b"vary", b"Origin")]
            if len(self._known) < MAX_KNOWN:
                self._known[origin] = known
        return known.copy()

    def preflight(self, headers: RawHeaders) -> Answer | None:
        """The answer to an OPTIONS request that is a preflight; None for one that is not, which the service answers.

        `headers` have names in lower case. A page that is not allowed gets an answer that allows nothing, and the service is not
        asked: whatever it would say, the browser would not let the page send the request.
        """
        origins = []
        method: bytes | None = None
        wanted: bytes = b""
        for name, value in headers:
            if name == b"origin":
                origins.append(value)
            elif name == b"access-control-request-method":
                method = value
            elif name == b"access-control-request-headers":
                wanted = wanted + b"," + value if wanted else value
        if not origins or method is None:
            return None
        if len(origins) > 1 or not self.allows(origins[0]):
            return Answer(204, [_PREFLIGHT_VARY], b"")
        told = [(b"access-control-allow-origin", b"*" if self._any else origins[0]), *self._preflight]
        methods = self._list(self._cors.methods, method)
        allowed = self._list(self._cors.headers, wanted)
        if methods:
            told.append((b"access-control-allow-methods", methods))
        if allowed:
            told.append((b"access-control-allow-headers", allowed))
        return Answer(204, [*told, _PREFLIGHT_VARY], b"")

    def _list(self, allowed: tuple[str, ...], asked: bytes) -> bytes:
        if "*" in allowed and self._echo:
            return asked if len(asked) <= MAX_ECHOED and _TOKENS.fullmatch(asked) else b""
        return ", ".join(allowed).encode()


def _check(cors: Cors) -> None:
    if not cors.origins:
        raise ConfigurationError("cors: no origin is allowed; name one, or leave cors out")
    if "*" in cors.origins and cors.credentials:
        raise ConfigurationError("cors: credentials never go with any origin; name the origins instead of '*'")
    if "*" in cors.origins and len(cors.origins) > 1:
        raise ConfigurationError("cors: '*' is every origin; leave the others out")
    for origin in cors.origins:
        _check_origin(origin)
    for name in (*cors.methods, *cors.headers, *cors.expose):
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"cors: {name!r} is no name of a method or header")
    if cors.credentials and "*" in cors.expose:
        raise ConfigurationError("cors: with credentials, expose has to name the headers instead of '*'")
    if not 0 <= cors.max_age <= 86_400:
        raise ConfigurationError(f"cors: max_age is {cors.max_age}; give whole seconds from 0 to 86400")


def _check_origin(origin: str) -> None:
    if origin == "*":
        return
    if not _ORIGIN.fullmatch(origin):
        raise ConfigurationError(
            f"cors: {origin!r} is no origin; write https://host, https://host:port or https://*.domain in lower case"
        )
    if origin.endswith(":80" if origin.startswith("http:") else ":443"):
        raise ConfigurationError(f"cors: browsers leave the scheme's own port out; so must {origin!r}")


def _split(origin: str) -> tuple[bytes, bytes]:
    start, _, end = origin.partition("*")
    return start.encode(), end.encode()
