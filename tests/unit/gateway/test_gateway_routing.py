from __future__ import annotations

import pytest

from skerry.gateway.routing import Table
from skerry.gateway.spec import GatewaySpec
from skerry.service.problem import Problem

SPEC = GatewaySpec.parse("""
routes:
  - {path: /, service: web}
  - {path: /api, service: api}
  - {path: /api/orders, service: order, methods: [POST]}
  - {path: /api/orders, service: orders-read}
  - {path: /api/orders/archive, service: archive, methods: [GET]}
  - {path: "/api/orders/{id}", methods: [GET], aggregate: {parts: {p: {service: by-id, path: "/{id}"}}}}
  - {path: "/api/orders/latest", methods: [GET], aggregate: {parts: {p: {service: latest, path: /}}}}
  - {path: "/api/{kind}/{id}/lines", aggregate: {parts: {p: {service: lines, path: /}}}}
""")


def service(method: str, path: str) -> str:
    target = Table(SPEC.routes).find(method, path).route.target
    return target.service if hasattr(target, "service") else target.parts[0].service


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "web"),
        ("GET", "/index.html", "web"),
        ("GET", "/apis", "web"),
        ("GET", "/api", "api"),
        ("GET", "/api/", "api"),
        ("GET", "/api/users", "api"),
        ("POST", "/api/orders", "order"),
        ("GET", "/api/orders", "orders-read"),
        ("GET", "/api/orders/", "orders-read"),
        ("POST", "/api/orders/7", "order"),
        ("DELETE", "/api/orders/7", "orders-read"),
        ("GET", "/api/orders/7", "by-id"),
        ("HEAD", "/api/orders/7", "by-id"),
        ("GET", "/api/orders/latest", "latest"),
        ("GET", "/api/orders/archive", "by-id"),
        ("GET", "/api/orders/archive/2020", "archive"),
        ("GET", "/api/orders/7/", "orders-read"),
        ("GET", "/api/orders/7/lines", "lines"),
        ("GET", "/API/orders", "web"),
    ],
)
def test_the_most_specific_route_wins(method: str, path: str, expected: str) -> None:
    """Whole over prefix, longer over shorter, literal over variable, with methods over without; by segment, by case."""
    assert service(method, path) == expected


def test_the_order_in_the_file_does_not_matter() -> None:
    """A table of the same routes in another order finds the same."""
    paths = ["/", "/api/x", "/api/orders/7", "/api/orders/latest", "/api/orders/archive/1"]
    backwards = Table(reversed(SPEC.routes))
    for path in paths:
        assert backwards.find("GET", path).route == Table(SPEC.routes).find("GET", path).route


def test_a_match_tells_what_the_path_says() -> None:
    """A prefix leaves the rest, a template its variables."""
    table = Table(SPEC.routes)
    assert table.find("GET", "/api/users/7").rest == "/users/7"
    assert table.find("GET", "/api").rest == ""
    assert table.find("GET", "/api/orders/7").variables == {"id": "7"}


def test_no_route_is_a_404() -> None:
    """A path that no route covers is a 404 problem."""
    table = Table(GatewaySpec.parse("routes: [{path: /a, service: a}]").routes)
    for path in ("/", "/b", "/ab", "/A"):
        with pytest.raises(Problem) as caught:
            table.find("GET", path)
        assert caught.value.status == 404


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", ""])
def test_strange_methods_are_taken_nowhere(method: str) -> None:
    """A route without methods takes the usual ones, not whatever a client makes up."""
    with pytest.raises(Problem) as caught:
        Table(SPEC.routes).find(method, "/")
    assert caught.value.status == 405


def test_a_wrong_method_is_a_405_that_says_which_are_right() -> None:
    """A path that is routed for other methods only answers 405 with all of them in Allow."""
    spec = GatewaySpec.parse(
        "routes: [{path: /a, service: a, methods: [GET]}, {path: /a/b, service: b, methods: [POST]}]"
    )
    with pytest.raises(Problem) as caught:
        Table(spec.routes).find("DELETE", "/a/b")
    assert caught.value.status == 405
    assert list(caught.value.headers) == [(b"allow", b"GET, HEAD, POST")]
