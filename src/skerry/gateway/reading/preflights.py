"""Preflights of routes that name their methods.

Before a page of another origin asks with PUT, its browser asks with OPTIONS whether it may, and names PUT in a header (Fetch,
section 4.8). It sends no cookies then and none of the headers that it will send. A route with `cors` and `methods` would never
see that question, so it gets matches for it: the same paths, by OPTIONS, for its methods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from skerry.gateway.model import METHODS, Match, Route, ValueMatch
from skerry.gateway.reading.syntax import shape

_ASKED: Final = "access-control-request-method"


def with_preflights(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The routes, with these matches. Where several would take the same question, as canaries do, the first one answers it."""
    taken: set[tuple[object, ...]] = set()
    return tuple(_with_preflights(route, taken) for route in routes)


def _with_preflights(route: Route, taken: set[tuple[object, ...]]) -> Route:
    if route.cors is None:
        return route
    found: list[Match] = []
    for match in route.matches:
        if match.methods is None or "OPTIONS" in match.methods:
            continue
        path = (match.path.kind, shape(match.path.value))
        for method in sorted(match.methods, key=METHODS.index):
            key = (route.listeners, route.hostnames, path, frozenset(match.query), method)
            if key not in taken:
                taken.add(key)
                found.append(Match(match.path, frozenset({"OPTIONS"}), (ValueMatch(_ASKED, method),), match.query))
    return replace(route, matches=(*route.matches, *found)) if found else route
