"""A route that names its methods gets the preflights of these too."""

from __future__ import annotations

import pytest

from skerry.gateway import reading
from skerry.gateway.model import Match, PathMatch, ValueMatch

CORS = 'cors: {origins: ["https://a.b"]}'


def preflight(method: str, path: str = "/a") -> Match:
    asked = ValueMatch("access-control-request-method", method)
    return Match(PathMatch("prefix", path), frozenset({"OPTIONS"}), (asked,))


def matches(*routes: str) -> list[tuple[Match, ...]]:
    text = "routes:\n" + "".join(f"  - {{service: a, {route}}}\n" for route in routes)
    return [tuple(m for m in route.matches if m.methods == {"OPTIONS"}) for route in reading.parse(text).routes]


def test_each_method_has_its_preflight() -> None:
    """A browser asks by OPTIONS whether it may use a method; GET brings HEAD."""
    assert matches(f"path: /a, methods: [GET, PUT], {CORS}") == [
        (preflight("GET"), preflight("HEAD"), preflight("PUT"))
    ]


@pytest.mark.parametrize(
    "route", [f"path: /a, {CORS}", f"path: /a, methods: [OPTIONS, PUT], {CORS}", "path: /a, methods: [PUT]"]
)
def test_nothing_is_added_where_nothing_is_missing(route: str) -> None:
    """Not to routes that take OPTIONS anyway, and not to those that other origins may not ask."""
    assert [match for (found,) in [matches(route)] for match in found if match.headers] == []


def test_conditions_that_a_browser_does_not_send_do_not_count() -> None:
    """A preflight has neither the headers nor the cookies of the request that it asks for; of canaries the first answers it."""
    canary = f"path: /a, methods: [PUT], headers: {{x-canary: '1'}}, cookies: {{b: c}}, {CORS}"
    assert matches(canary, f"path: /a, methods: [PUT], {CORS}") == [(preflight("PUT"),), ()]


def test_methods_on_several_routes_of_a_path() -> None:
    """Each route answers for its own methods."""
    put, post = f"path: /a, methods: [PUT], {CORS}", f"path: /a, methods: [POST], {CORS}"
    assert matches(put, post) == [(preflight("PUT"),), (preflight("POST"),)]


def test_what_was_read_is_still_free_of_contradictions() -> None:
    """The matches that were added are no doubles of one another."""
    text = f"routes:\n  - {{path: /a, methods: [GET], service: a, {CORS}}}\n"
    text += f"  - {{path: /a, methods: [GET], headers: {{x: y}}, service: b, {CORS}}}\n"
    reading.check(reading.parse(text))
