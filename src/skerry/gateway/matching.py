"""Which route answers a request, by the Gateway API's order (HTTPRouteRule, "matches").

A table belongs to one listener. It costs a request a few look-ups, however many routes there are: whole paths and prefixes are
found by dictionary, longest first, and only templates and regular expressions are tried one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from skerry.errors import ConfigurationError, MissingExtra
from skerry.gateway.model import GatewaySpec, Listener, Match, Route, ValueMatch
from skerry.gateway.wire import BadMessage, canonical, template

MAX_PARAMETERS = 200
"""Parameters of a query, and cookies, that are looked at."""
_MAX_HOSTS = 4096
"""Hosts whose look-up is remembered: whoever sends others costs a little more each time."""


class Regex(Protocol):
    """A compiled expression of RE2: linear in the length of what it reads."""

    def fullmatch(self, text: str, /) -> object | None:
        """Something true when the whole `text` matches."""


class Asked(Protocol):
    """What a table needs to know of a request. `path` is canonical, `host` in lower case without its port."""

    @property
    def method(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str | None: ...
    def header(self, name: bytes) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A route, the prefix by which it was found (else the whole path), and what its template's variables are, percent-encoded as
    in the path.
    """

    route: Route
    prefix: str
    variables: Mapping[str, str] = field(default_factory=dict)


class Table:
    """The routes of one listener.

    Table(spec, spec.listeners[0]).find(head).route
    """

    def __init__(self, spec: GatewaySpec, listener: Listener) -> None:
        self._levels: dict[str, _Level] = {}
        self._known: dict[str, tuple[_Level, ...]] = {}
        for order, route in enumerate(spec.routes):
            if route.listeners and listener.name not in route.listeners:
                continue
            for hostname in hostnames(route.hostnames, listener.hostnames):
                level = self._levels.setdefault(hostname, _Level())
                for number, match in enumerate(route.matches or (Match(),)):
                    level.add(route, match, (order, number))
        for level in self._levels.values():
            level.settle()

    def find(self, asked: Asked) -> Found | None:
        """The route that answers, None when there is none."""
        levels = self._known.get(asked.host)
        if levels is None:
            levels = self._of(asked.host)
        for level in levels:
            found = level.find(asked)
            if found is not None:
                return found
        return None

    def _of(self, host: str) -> tuple[_Level, ...]:
        names = [host, *(f"*{host[at:]}" for at, letter in enumerate(host) if letter == "." and at), "*"]
        levels = tuple(self._levels[name] for name in names if name in self._levels)
        if len(self._known) < _MAX_HOSTS:
            self._known[host] = levels
        return levels


def hostnames(of_route: Iterable[str], of_listener: Iterable[str]) -> tuple[str, ...]:
    """What both have in common, `*` for any: of two that overlap, the narrower one."""
    mine = [name.lower() for name in of_route] or ["*"]
    bounds = [name.lower() for name in of_listener] or ["*"]
    narrower = (_narrower(name, bound) for name in mine for bound in bounds)
    return tuple(dict.fromkeys(name for name in narrower if name is not None))


def _narrower(one: str, other: str) -> str | None:
    if other in {one, "*"}:
        return one
    if one == "*":
        return other
    if other.startswith("*.") and one.endswith(other[1:]) and one != other[1:]:
        return one
    if one.startswith("*.") and other.endswith(one[1:]) and other != one[1:]:
        return other
    return None


class _Level:
    """All entries for one hostname."""

    __slots__ = ("_exact", "_prefixes", "_regexes", "_root", "_templates")

    def __init__(self) -> None:
        self._exact: dict[str, list[_Entry]] = {}
        self._prefixes: dict[str, list[_Entry]] = {}
        self._root: list[_Entry] = []
        self._templates: dict[int, list[_Entry]] = {}
        self._regexes: list[_Entry] = []

    def add(self, route: Route, match: Match, order: tuple[int, int]) -> None:
        kind, value = match.path.kind, match.path.value
        if kind == "regex":
            self._regexes.append(_Entry(route, match, order, value, regex=compiled(value, route.name)))
        elif kind == "template":
            segments = template(value)
            self._templates.setdefault(len(segments), []).append(_Entry(route, match, order, value, segments=segments))
        else:
            path = _canonical(value, route.name)
            if kind == "exact":
                self._exact.setdefault(path, []).append(_Entry(route, match, order, path))
            elif path.rstrip("/") == "":
                self._root.append(_Entry(route, match, order, "/"))
            else:
                path = path.rstrip("/")
                self._prefixes.setdefault(path, []).append(_Entry(route, match, order, path))

    def settle(self) -> None:
        for group in [*self._exact.values(), *self._prefixes.values(), self._root]:
            group.sort(key=_Entry.rank)
        for group in self._templates.values():
            group.sort(key=lambda entry: (entry.variables, entry.rank()))
        self._regexes.sort(key=lambda entry: (-len(entry.path), entry.rank()))

    def find(self, asked: Asked) -> Found | None:
        path = asked.path
        group = self._exact.get(path)
        found = None if group is None else _first(group, asked)
        if found is None and self._templates:
            found = self._by_template(asked)
        if found is None and self._prefixes:
            found = self._by_prefix(asked)
        if found is not None:
            return found
        for entry in self._regexes:
            if entry.regex is not None and entry.regex.fullmatch(path) and entry.fits(asked):
                return Found(entry.found.route, path)
        return _first(self._root, asked)

    def _by_prefix(self, asked: Asked) -> Found | None:
        path, prefixes = asked.path, self._prefixes
        prefix, at = path, len(path)
        while at > 0:
            group = prefixes.get(prefix)
            if group is not None:
                found = _first(group, asked)
                if found is not None:
                    return found
            at = path.rfind("/", 0, at)
            prefix = path[:at]
        return None

    def _by_template(self, asked: Asked) -> Found | None:
        segments = asked.path.split("/")[1:]
        for entry in self._templates.get(len(segments), ()):
            variables = entry.read(segments)
            if variables is not None and entry.fits(asked):
                return Found(entry.found.route, asked.path, variables)
        return None


def _first(group: list[_Entry], asked: Asked) -> Found | None:
    for entry in group:
        if entry.always or entry.fits(asked):
            return entry.found
    return None


class _Entry:
    """One match of one route, its path apart."""

    __slots__ = ("_conditions", "_methods", "_rank", "always", "found", "path", "regex", "segments", "variables")

    def __init__(
        self,
        route: Route,
        match: Match,
        order: tuple[int, int],
        path: str,
        *,
        regex: Regex | None = None,
        segments: tuple[str, ...] = (),
    ) -> None:
        self.found = Found(route, path)
        self.path = path
        self.regex = regex
        self.segments = segments
        self.variables = sum(segment.startswith("{") for segment in segments)
        self._methods = match.methods
        fields = [*match.headers, *match.cookies]
        self._rank = (match.methods is None, -len(fields), -len(match.query), order)
        plain = bool(match.headers or match.query or match.cookies)
        self._conditions = _Conditions(route.name, match) if plain else None
        self.always = self._methods is None and self._conditions is None

    def rank(self) -> tuple[bool, int, int, tuple[int, int]]:
        return self._rank

    def fits(self, asked: Asked) -> bool:
        if self._methods is not None and asked.method not in self._methods:
            return False
        return self._conditions is None or self._conditions.hold(asked)

    def read(self, segments: list[str]) -> dict[str, str] | None:
        """The variables, None when the path is another."""
        variables: dict[str, str] = {}
        for expected, actual in zip(self.segments, segments, strict=True):
            if expected.startswith("{"):
                if not actual:
                    return None
                variables[expected[1:-1]] = actual
            elif expected != actual:
                return None
        return variables


class _Conditions:
    """What a match asks of headers, query and cookies."""

    __slots__ = ("_cookies", "_headers", "_query")

    def __init__(self, name: str, match: Match) -> None:
        self._headers = [(wanted.name.lower().encode("latin-1"), _Wanted(name, wanted)) for wanted in match.headers]
        self._query = [(wanted.name, _Wanted(name, wanted)) for wanted in match.query]
        self._cookies = [(wanted.name, _Wanted(name, wanted)) for wanted in match.cookies]

    def hold(self, asked: Asked) -> bool:
        for header, wanted in self._headers:
            if not wanted.is_value(asked.header(header)):
                return False
        if self._query:
            told = parameters(asked.query or "")
            if not all(wanted.is_value(told.get(name)) for name, wanted in self._query):
                return False
        if self._cookies:
            brought = cookies(asked.header(b"cookie") or "")
            return all(wanted.is_value(brought.get(name)) for name, wanted in self._cookies)
        return True


class _Wanted:
    __slots__ = ("_regex", "_value")

    def __init__(self, route: str, wanted: ValueMatch) -> None:
        self._value = wanted.value
        self._regex = compiled(wanted.value, route) if wanted.regex else None

    def is_value(self, value: str | None) -> bool:
        if value is None:
            return False
        return value == self._value if self._regex is None else self._regex.fullmatch(value) is not None


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query, decoded; of a repeated one, the first."""
    told: dict[str, str] = {}
    pieces = "&".join(query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS])
    for name, value in parse_qsl(pieces, keep_blank_values=True, errors="replace"):
        told.setdefault(name, value)
    return told


def cookies(header: str) -> dict[str, str]:
    """The cookies of a request (RFC 6265, section 5.4); of a repeated one, the first."""
    brought: dict[str, str] = {}
    for piece in header.split(";", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, sign, value = piece.strip().partition("=")
        if sign:
            brought.setdefault(name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value)
    return brought


def compiled(expression: str, route: str) -> Regex:
    """An expression of RE2. Raises `ConfigurationError` for a broken one."""
    try:
        import re2
    except ImportError as error:
        raise MissingExtra("A regular expression in a gateway", "gateway") from error
    try:
        pattern: Regex = re2.compile(expression)
    except re2.error as error:
        raise ConfigurationError(f"route {route!r}: {expression[:80]!r} is not a regular expression of RE2") from error
    return pattern


def _canonical(path: str, route: str) -> str:
    try:
        return canonical(path.encode())
    except BadMessage as error:
        raise ConfigurationError(
            f"route {route!r}: the path {path[:80]!r} cannot be asked for: {error.detail}"
        ) from error
