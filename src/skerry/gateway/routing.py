"""Which route answers a request.

The most specific one wins: an aggregate's path, which matches as a whole, over a prefix; a longer path over a shorter one; a
literal segment over a variable; a route with methods over one that takes all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skerry.gateway.spec import METHODS, Aggregate, Route
from skerry.service.problem import Problem


@dataclass(frozen=True, slots=True)
class Match:
    """A route with what its path says: the variables, decoded, or what follows the prefix (empty, or with a slash first)."""

    route: Route
    variables: Mapping[str, str]
    rest: str


class Table:
    """All routes, most specific first.

    Table(spec.routes).find("GET", "/api/orders/42").route
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(_Compiled(route) for route in sorted(routes, key=_specificity, reverse=True))

    def find(self, method: str, path: str) -> Match:
        """The route for a canonical path. Raises `Problem`: 404 when there is none, 405 when none takes the method.

        A route that takes GET takes HEAD.
        """
        allowed: set[str] = set()
        for compiled in self._routes:
            match = compiled.match(path)
            if match is None:
                continue
            if method in compiled.methods:
                return match
            allowed |= compiled.methods
        if not allowed:
            raise Problem(404, "no_route", "There is nothing under this path.")
        allow = ", ".join(sorted(allowed)).encode()
        raise Problem(405, "method_not_allowed", "This path does not take that method.", headers=[(b"allow", allow)])


class _Compiled:
    def __init__(self, route: Route) -> None:
        self._route = route
        self._whole = isinstance(route.target, Aggregate)
        self._segments = route.path.split("/")
        self._prefix = route.path.rstrip("/")
        self.methods = frozenset(METHODS) if route.methods is None else route.methods
        if "GET" in self.methods:
            self.methods |= {"HEAD"}

    def match(self, path: str) -> Match | None:
        return self._match_whole(path) if self._whole else self._match_prefix(path)

    def _match_prefix(self, path: str) -> Match | None:
        if path == self._prefix or path.startswith(self._prefix + "/"):
            return Match(self._route, {}, path[len(self._prefix) :])
        return None

    def _match_whole(self, path: str) -> Match | None:
        segments = path.split("/")
        if len(segments) != len(self._segments):
            return None
        variables: dict[str, str] = {}
        for expected, actual in zip(self._segments, segments, strict=True):
            if expected.startswith("{") and actual:
                variables[expected[1:-1]] = actual
            elif expected != actual:
                return None
        return Match(self._route, variables, "")


def _specificity(route: Route) -> tuple[bool, int, int, bool]:
    segments = [] if route.path == "/" else route.path.split("/")
    literals = sum(not segment.startswith("{") for segment in segments)
    return isinstance(route.target, Aggregate), len(segments), literals, route.methods is not None
