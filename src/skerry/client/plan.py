"""From what a caller says to a request that can go out: the address, the path, the headers, the body; each checked first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict
from urllib.parse import quote, urlencode, urlsplit

from skerry import __version__, context
from skerry.client.body import Content, Data, File, encoded
from skerry.client.decoding import ACCEPTED
from skerry.client.headers import Given
from skerry.client.network import IDEMPOTENT
from skerry.client.redirects import MOST_REDIRECTS
from skerry.client.transport import Request
from skerry.clock import Clock
from skerry.errors import CallError, ConfigurationError
from skerry.settings import Settings, name_of, variable_for

KEY_HEADER = "idempotency-key"
Params = Mapping[str, str | int | float | bool | None]

_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?=[/?]|$)", re.IGNORECASE)
_LEGAL = re.compile(r"[!$&-;=?-Z_a-z~]*(?:%[0-9A-Fa-f]{2}[!$&-;=?-Z_a-z~]*)*")
"""A path with its query, as it may stand in a request (RFC 3986, sections 3.3 and 3.4)."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
CARRIED = frozenset(
    ["traceparent", "tracestate", context.TIMEOUT_HEADER, context.RETRIED_HEADER, context.PRIORITY_HEADER]
)
_FRAMING = frozenset(["content-length", "transfer-encoding", "connection", "host"])
"""Said by the transport alone: a second voice is how requests are smuggled."""
_DEFAULTS = (("user-agent", f"skerry/{__version__}"), ("accept", "*/*"), ("accept-encoding", ACCEPTED))


class Options(TypedDict, total=False):
    """What every verb takes.

    One of `json` (serialised), `content` (bytes, text, or an async iterable of pieces), or `data` with `files` (a form).
    `timeout` in seconds shortens the policy's total; it cannot extend it. `redirects`: how many to follow, none by default.
    """

    params: Params | None
    headers: Given | None
    json: Any
    content: Content | None
    data: Data | None
    files: Mapping[str, File] | None
    idempotency_key: str | None
    timeout: float | None
    redirects: int


@dataclass(slots=True)
class Plan:
    """A request, whether it may be sent a second time after a failure that says nothing, and how far it may be redirected."""

    request: Request
    repeatable: bool
    redirects: int


def planned(service: str, base: str, method: str, path: str, options: Options, clock: Clock) -> Plan:
    """The plan of one call. Raises `ValueError` for a path or an option, `CallError` for a header that cannot be sent."""
    method = method.upper()
    if method not in IDEMPOTENT and not _TOKEN.fullmatch(method):
        raise ValueError(f"{service}: {method[:80]!r} is not a method")
    if not options:  # as nearly every GET
        request = Request(service, method, base + _target(service, path, None), list(_DEFAULTS))
        return Plan(request, method in IDEMPOTENT, 0)
    redirects = options.get("redirects", 0)
    if not 0 <= redirects <= MOST_REDIRECTS:
        raise ValueError(f"{service}: redirects is {redirects}; give 0 to {MOST_REDIRECTS}")
    body, described = encoded(
        json=options.get("json"),
        content=options.get("content"),
        data=options.get("data"),
        files=options.get("files"),
        clock=clock,
    )
    headers = _headers(service, options.get("headers"), described)
    key = options.get("idempotency_key")
    if key is not None:
        headers = [pair for pair in headers if pair[0] != KEY_HEADER]
        headers.append(_checked(service, KEY_HEADER, key))
    request = Request(service, method, base + _target(service, path, options.get("params")), headers, body)
    harmless = method in IDEMPOTENT or any(name == KEY_HEADER for name, _ in headers)
    return Plan(request, harmless and request.replayable, redirects)


def given(service: str, url: str | None) -> str:
    """The address as it was given, here or in the environment. Raises `ConfigurationError` when it was not."""
    variable = variable_for(service)
    if url is None:
        url = Settings.from_environ().urls.get(name_of(variable))
    if not url:
        raise ConfigurationError(
            f"the address of {service!r} is not known: set {variable}, for example to http://host:port"
        )
    return url


def address(service: str, url: str) -> str:
    """The base address, without a slash at its end. Raises `ConfigurationError`."""
    variable = variable_for(service)
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ConfigurationError(f"the address of {service!r} ({variable}) is not a URL") from error
    extra = "@" in parsed.netloc or parsed.query or parsed.fragment
    if parsed.scheme not in {"http", "https"} or not parsed.hostname or extra or not _LEGAL.fullmatch(parsed.path):
        raise ConfigurationError(
            f"the address of {service!r} ({variable}) must look like http://host:port, without credentials"
        )
    if not url.isascii() or not url.isprintable():
        raise ConfigurationError(f"the address of {service!r} ({variable}) has to be in plain ASCII")
    return url.rstrip("/")


def _target(service: str, path: str, params: Params | None) -> str:
    if path[:1] != "/" or (("/." in path or "/%" in path) and _DOT_SEGMENT.search(path)):
        raise ValueError(f"{service}: a path begins with a slash and has no dot segments, unlike {path[:80]!r}")
    if not _LEGAL.fullmatch(path):
        path = _quoted(service, path)
    if params:
        pairs = [(name, _plain(value)) for name, value in params.items()]
        path += ("&" if "?" in path else "?") + urlencode(pairs)
    return path


def _quoted(service: str, path: str) -> str:
    try:
        quoted = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(path, safe="/?%!$&'()*+,;=:@~"))
    except UnicodeEncodeError as error:
        raise ValueError(f"{service}: {path[:80]!r} is not a valid path") from error
    return quoted


def _plain(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _headers(service: str, given: Given | None, described: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if given is None:
        return [*_DEFAULTS, *described]
    pairs = given.items() if isinstance(given, Mapping) else given
    own = [_checked(service, name.lower(), value) for name, value in pairs]
    own = [pair for pair in own if pair[0] not in CARRIED and pair[0] not in _FRAMING]
    names = {name for name, _ in own}
    return [*(pair for pair in (*_DEFAULTS, *described) if pair[0] not in names), *own]


def _checked(service: str, name: str, value: str) -> tuple[str, str]:
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise CallError(service, f"the header {name[:80]!r} is not valid HTTP, so nothing was sent")
    return name, value
