"""Who may ask the console anything: whoever has the token, from a page of the console itself, by a name of this machine.

The checks stand in front of everything else and refuse before anything is read:

- `Host` must be a name the console is known by: a page elsewhere whose name was made to lead here (DNS rebinding) has another.
- `Origin`, where a browser sends it, must be this very console.
- The token must be there, as a bearer's or in the cookie that the opening address leaves.
- What changes something must be JSON with the header `x-skerry`, which a form of another page cannot send.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from skerry.errors import ConfigurationError

LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
MIN_TOKEN: Final = 16
"""Characters of a token at least."""
OPEN: Final = "/"
"""The only path at which a token in the address is looked at."""
POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_RECEIVER: Final = "/v1/"

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """In front of an ASGI application. `hosts` are further names by which it is known, without ports.

    Raises `ConfigurationError` when the token is too short to be one.
    """

    def __init__(self, app: App, *, token: str, hosts: Collection[str] = ()) -> None:
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigurationError(f"the console's token has to have {MIN_TOKEN} printable ASCII characters at least")
        self._app = app
        self._token = token.encode()
        self._hosts = LOCAL | {host.lower().strip("[]") for host in hosts}
        # the cookie is no bearer's token, and two consoles of one host do not take each other's
        self._cookie = hmac.digest(self._token, b"cookie", "sha256").hex()
        self.cookie_name: str = "skerry-" + hashlib.sha256(self._token).hexdigest()[:12]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = _single(scope["headers"])
        refusal = (400, "there is no such path") if "\0" in scope["path"] else self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
        elif scope["path"] == OPEN and (given := _token_of(scope)) is not None:
            await self._open(given, send)
        elif not self._is_known(headers):
            await _answer(send, 401, "open the address that `skerry console` printed, or send its token as a bearer's")
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = _host(host)
        if name is None or name not in self._hosts:
            return 421, "the console is not known by this name"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope.get('scheme', 'http')}://{host}".lower():
            return 403, "the request comes from a page of somebody else"
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            return 405, "GET, HEAD and POST are answered"
        if scope["method"] == "POST" and not scope["path"].startswith(_RECEIVER):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return 415, "the body has to be JSON, and its content-type has to say so"
            if headers.get("x-skerry") != "1":
                return 403, "what changes something needs the header x-skerry: 1"
        return None

    def _is_known(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip().encode("latin-1", "replace"), self._token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value.encode("latin-1", "replace"), self._cookie.encode())

    async def _open(self, given: str, send: Send) -> None:
        """Leave the cookie and go to the address without the token, so that it stays in no history and no referrer."""
        if not _same(given.encode("utf-8", "replace"), self._token):
            await _answer(send, 401, "the token in this address is not this console's: it has been started again since")
            return
        cookie = f"{self.cookie_name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(send, 303, "", (b"location", b"/"), (b"set-cookie", cookie.encode()))


def _same(given: bytes, expected: bytes) -> bool:
    return hmac.compare_digest(given, expected)


def _single(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; of a host, an origin or a type that stands twice, both, so that it fits nothing."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}; {text}" if key in found else text
    return found


def _host(header: str) -> str | None:
    """The name without its port; None for something that is none."""
    if not header or any(character in header for character in "/@\\ ;,?#"):
        return None
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname if parts.port is None or parts.port else None
    except ValueError:
        return None


def _token_of(scope: Scope) -> str | None:
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        found = parse_qs(query, max_num_fields=20).get("token")
    except ValueError:  # too many fields
        return None
    return None if found is None else found[0]


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    body = f"{text}\n".encode() if text else b""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store"), *HEADERS, *more]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
