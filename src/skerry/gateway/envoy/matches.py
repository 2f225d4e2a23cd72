"""Which requests a route of Envoy takes, and in which order: Envoy takes the first that fits, so the order is made here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skerry.gateway.envoy.values import Plain, quoted, regex, string
from skerry.gateway.matching import hostnames
from skerry.gateway.model import Listener, Match, PathMatch, Route, ValueMatch
from skerry.gateway.wire import canonical, template

EXACT, TEMPLATE, PREFIX, REGEX, ROOT = range(5)
"""Kinds of paths, the more specific first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of one route for one hostname. `order` is where it stands."""

    hostname: str
    route: Route
    match: Match
    order: tuple[int, int]

    def rank(self) -> tuple[object, ...]:
        """The smaller comes first."""
        match = self.match
        names = len(match.headers) + len(match.cookies)
        return (*_path_rank(match.path), match.methods is None, -names, -len(match.query), self.order)


def entries(routes: Iterable[Route], listener: Listener) -> list[Entry]:
    """All that a listener takes, in no order yet."""
    found = []
    for number, route in enumerate(routes):
        if route.listeners and listener.name not in route.listeners:
            continue
        for hostname in hostnames(route.hostnames, listener.hostnames):
            for at, match in enumerate(route.matches or (Match(),)):
                found.append(Entry(hostname, route, match, (number, at)))
    return found


def covers(pattern: str, name: str) -> bool:
    """Whether all hosts of `name`, a host or another pattern, are hosts of `pattern`."""
    if pattern in {"*", name}:
        return True
    if not pattern.startswith("*."):
        return False
    return name.removeprefix("*").endswith(pattern[1:]) and name != pattern[1:]


def specificity(pattern: str) -> tuple[bool, int]:
    """The smaller, the more specific: a whole name, then the longest wildcard."""
    return (pattern.startswith("*"), -len(pattern))


def ordered(found: Iterable[Entry], hostname: str) -> list[Entry]:
    """Those of the entries that take a request for `hostname`, first what comes first."""
    mine = [entry for entry in found if covers(entry.hostname, hostname)]
    return sorted(mine, key=lambda entry: (specificity(entry.hostname), *entry.rank()))


def conditions(match: Match, methods: frozenset[str] | None) -> Plain:
    """A match as Envoy writes it, with these methods instead of its own (None: any)."""
    headers = [*_methods(methods), *(_header(wanted) for wanted in match.headers)]
    headers += [{"name": "cookie", "string_match": {"safe_regex": regex(_cookie(wanted))}} for wanted in match.cookies]
    found = path(match.path)
    if headers:
        found["headers"] = headers
    if match.query:
        found["query_parameters"] = [{"name": wanted.name, "string_match": string(wanted)} for wanted in match.query]
    return found


def path(wanted: PathMatch) -> Plain:
    """A path as Envoy writes it."""
    kind, value = kind_of(wanted), wanted.value
    if kind == ROOT:
        return {"prefix": "/"}
    if kind == PREFIX:
        return {"path_separated_prefix": prefix_of(wanted)}
    if kind == EXACT:
        return {"path": canonical(value.encode())}
    if kind == TEMPLATE:
        return {"safe_regex": regex(_template(value))}
    return {"safe_regex": regex(value)}


def kind_of(wanted: PathMatch) -> int:
    """What kind of path it is, to Envoy."""
    if wanted.kind == "exact":
        return EXACT
    if wanted.kind == "template":
        return TEMPLATE
    if wanted.kind == "regex":
        return REGEX
    return PREFIX if prefix_of(wanted) else ROOT


def prefix_of(wanted: PathMatch) -> str:
    """A prefix without the slash at its end, so empty for all paths."""
    return canonical(wanted.value.encode()).rstrip("/")


def _path_rank(wanted: PathMatch) -> tuple[int, int]:
    kind = kind_of(wanted)
    if kind == TEMPLATE:
        return kind, sum(segment.startswith("{") for segment in template(wanted.value))
    if kind == PREFIX:
        return kind, -len(prefix_of(wanted))
    return kind, -len(wanted.value) if kind == REGEX else 0


def _template(value: str) -> str:
    parts = ("[^/]+" if segment.startswith("{") else quoted(segment) for segment in template(value))
    return "/" + "/".join(parts)


def _methods(methods: frozenset[str] | None) -> list[Plain]:
    if methods is None:
        return []
    names = sorted(methods)
    wanted = {"exact": names[0]} if len(names) == 1 else {"safe_regex": regex("|".join(map(quoted, names)))}
    return [{"name": ":method", "string_match": wanted}]


def _header(wanted: ValueMatch) -> Plain:
    name = wanted.name.lower()
    return {"name": ":authority" if name == "host" else name, "string_match": string(wanted)}


def _cookie(wanted: ValueMatch) -> str:
    value = f"(?:{wanted.value})" if wanted.regex else quoted(wanted.value)
    return f'(?:.*;)?[ \\t]*{quoted(wanted.name)}[ \\t]*=[ \\t]*"?{value}"?[ \\t]*(?:;.*)?'
