from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from skerry.errors import ConfigurationError
from skerry.gateway import GatewaySpec, Listener, Match, PathMatch, Respond, Route, ValueMatch
from skerry.gateway.matching import Table, hostnames


@dataclass
class Asked:
    """A request as far as a table looks at it."""

    path: str = "/"
    method: str = "GET"
    host: str = "a.test"
    query: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> str | None:
        return self.headers.get(name.decode())


def route(name: str, *matches: Match, hosts: tuple[str, ...] = (), listeners: tuple[str, ...] = ()) -> Route:
    return Route(name, matches, Respond(200), hostnames=hosts, listeners=listeners)


def prefix(path: str, **more: object) -> Match:
    return Match(PathMatch("prefix", path), **more)  # type: ignore[arg-type]


def exact(path: str, **more: object) -> Match:
    return Match(PathMatch("exact", path), **more)  # type: ignore[arg-type]


def who(routes: list[Route], asked: Asked, listener: Listener | None = None) -> str | None:
    """The name of the route that answers."""
    found = Table(GatewaySpec(routes=tuple(routes)), listener or Listener()).find(asked)
    return None if found is None else found.route.name


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a", "a"), ("/a/", "a"), ("/a/b", "ab"), ("/a/b/c", "ab"), ("/a/bc", "a"), ("/ab", "root"), ("/", "root")],
)
def test_a_prefix_is_whole_segments_and_the_longest_wins(path: str, expected: str) -> None:
    """`/a` has `/a` and what is below it, not `/ab`; of two prefixes the longer one answers, wherever it stands."""
    routes = [route("root", prefix("/")), route("a", prefix("/a")), route("ab", prefix("/a/b"))]
    assert who(routes, Asked(path)) == expected


def test_kinds_of_paths_have_an_order() -> None:
    """Exact, then template, then the longest prefix, then regex, then the prefix of everything."""
    routes = [
        route("all", prefix("/")),
        route("regex", Match(PathMatch("regex", "/x/[0-9]+"))),
        route("prefix", prefix("/x/y")),
        route("template", Match(PathMatch("template", "/x/{id}"))),
        route("exact", exact("/x/y")),
    ]
    assert who(routes, Asked("/x/y")) == "exact"
    assert who(routes, Asked("/x/7")) == "template"
    assert who(routes, Asked("/x/y/z")) == "prefix"
    assert who(routes, Asked("/x/7/8")) == "all"
    assert who([routes[0], routes[1]], Asked("/x/7")) == "regex"


def test_among_equals_method_headers_query_and_place_decide() -> None:
    """A method is more than headers, more headers are more than fewer, then come query parameters, then who stands first."""
    one, two = ValueMatch("x", "1"), ValueMatch("y", "2")
    routes = [
        route("plain", prefix("/a")),
        route("query", prefix("/a", query=(one,))),
        route("header", prefix("/a", headers=(one,))),
        route("headers", prefix("/a", headers=(one, two))),
        route("method", prefix("/a", methods=frozenset({"POST"}))),
        route("later", prefix("/a")),
    ]
    headers = {"x": "1", "y": "2"}
    assert who(routes, Asked("/a", method="POST", headers=headers)) == "method"
    assert who(routes, Asked("/a", headers=headers, query="x=1")) == "headers"
    assert who(routes, Asked("/a", headers={"x": "1"}, query="x=1")) == "header"
    assert who(routes, Asked("/a", query="x=1&x=2")) == "query"
    assert who(routes, Asked("/a", query="x=2&x=1")) == "plain"


def test_templates_with_fewer_variables_come_first_and_give_their_values() -> None:
    """Each variable stands for one segment that is not empty, as it is written in the path."""
    routes = [
        route("two", Match(PathMatch("template", "/{kind}/{id}"))),
        route("one", Match(PathMatch("template", "/orders/{id}"))),
    ]
    table = Table(GatewaySpec(routes=tuple(routes)), Listener())
    found = table.find(Asked("/orders/a%20b"))
    assert found is not None
    assert (found.route.name, found.variables) == ("one", {"id": "a%20b"})
    assert table.find(Asked("/orders/")) is None
    assert table.find(Asked("/orders/7/8")) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [("a.test", "exact"), ("b.test", "wild"), ("x.b.test", "wild"), ("c.b.test", "narrow"), ("test", "any")],
)
def test_the_more_specific_hostname_wins(host: str, expected: str) -> None:
    """A whole name is before a longer wildcard, that before a shorter one, and all before a route for any host."""
    routes = [
        route("any", prefix("/")),
        route("wild", prefix("/"), hosts=("*.test",)),
        route("narrow", exact("/"), hosts=("c.b.test",)),
        route("exact", prefix("/"), hosts=("a.test",)),
    ]
    assert who(routes, Asked(host=host)) == expected


def test_what_a_narrow_host_does_not_route_falls_to_a_wider_one() -> None:
    """Of the routes that fit at all the most specific host decides, so a path that it lacks is not lost."""
    routes = [route("any", prefix("/")), route("own", prefix("/own"), hosts=("a.test",))]
    assert who(routes, Asked("/own")) == "own"
    assert who(routes, Asked("/else")) == "any"


@pytest.mark.parametrize(
    ("of_route", "of_listener", "common"),
    [
        ((), (), ("*",)),
        (("a.test",), (), ("a.test",)),
        ((), ("a.test",), ("a.test",)),
        (("A.Test",), ("*.test",), ("a.test",)),
        (("*.test",), ("a.test",), ("a.test",)),
        (("*.b.test",), ("*.test",), ("*.b.test",)),
        (("test",), ("*.test",), ()),
        (("a.test", "b.other"), ("*.test", "*.other"), ("a.test", "b.other")),
    ],
)
def test_route_and_listener_have_in_common_what_is_narrower(
    of_route: tuple[str, ...], of_listener: tuple[str, ...], common: tuple[str, ...]
) -> None:
    """A wildcard has one label or more in its place, never none."""
    assert hostnames(of_route, of_listener) == common


def test_a_route_belongs_to_its_listeners() -> None:
    """A route that names listeners is not served by the others."""
    routes = [route("inner", prefix("/"), listeners=("inner",))]
    assert who(routes, Asked(), Listener("inner")) == "inner"
    assert who(routes, Asked(), Listener("outer")) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cookie": "a=1; canary=yes"}, "canary"),
        ({"cookie": "canary=no"}, "plain"),
        ({"x-v": "v12"}, "regex"),
        ({}, "plain"),
    ],
)
def test_cookies_and_expressions_match_whole_values(headers: dict[str, str], expected: str) -> None:
    """A cookie is looked up by its name, and an expression has to match all of a value."""
    routes = [
        route("canary", prefix("/", cookies=(ValueMatch("canary", "yes"),))),
        route("regex", prefix("/", headers=(ValueMatch("X-V", "v[0-9]+", regex=True),))),
        route("plain", prefix("/")),
    ]
    assert who(routes, Asked(headers=headers)) == expected


def test_an_expression_is_linear() -> None:
    """What would take a backtracking engine years is over at once, and what RE2 does not have is refused."""
    routes = [route("evil", Match(PathMatch("regex", "/(a+)+b")))]
    assert who(routes, Asked("/" + "a" * 5000)) is None
    with pytest.raises(ConfigurationError, match="not a regular expression of RE2"):
        Table(GatewaySpec(routes=(route("back", Match(PathMatch("regex", r"/(a)\1"))),)), Listener())
