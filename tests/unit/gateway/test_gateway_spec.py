from __future__ import annotations

from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.gateway.spec import Aggregate, GatewaySpec, Proxy

GOOD = """\
name: gateway
limits: {body: 64 KiB}
defaults: {policy: {total: 4.0, attempt: 1.0, breaker: {min_calls: 5}}}
routes:
  - path: /api/products
    service: product
    rewrite: /products
    policy: {total: 0.5}
  - path: /api/orders/{order_id}
    methods: [GET]
    aggregate:
      deadline: 2.0
      parts:
        order: {service: order, path: "/orders/{order_id}", required: true}
        payment: {service: payment, path: "/payments/by-order/{order_id}"}
"""
ROUTE = "routes:\n  - path: /a\n    service: a\n"


def test_a_good_spec_becomes_values() -> None:
    """Every setting of a file arrives in the specification, and a route's policy starts from the defaults."""
    spec = GatewaySpec.parse(GOOD)
    products, orders = spec.routes
    assert spec.limits.body == 64 * 1024
    assert isinstance(products.target, Proxy)
    assert products.target.rewrite == "/products"
    assert (products.target.policy.total, products.target.policy.breaker.min_calls) == (0.5, 5)
    assert orders.methods == {"GET"}
    assert isinstance(orders.target, Aggregate)
    assert [part.required for part in orders.target.parts] == [True, False]
    assert spec.services == {"product", "order", "payment"}


def test_an_attempt_is_never_longer_than_the_whole() -> None:
    """A total below the attempt's limit shortens the attempt."""
    target = GatewaySpec.parse(GOOD).routes[0].target
    assert isinstance(target, Proxy)
    assert target.policy.attempt == 0.5


def test_a_path_stays_without_a_rewrite() -> None:
    """A route without `rewrite` calls its service under the public path."""
    target = GatewaySpec.parse(ROUTE).routes[0].target
    assert isinstance(target, Proxy)
    assert target.rewrite == "/a"


MISTAKES = {
    "not yaml": ("routes: [", 1, "not valid YAML"),
    "not a mapping": ("- a\n", 1, "must be a mapping"),
    "no routes": ("name: gateway\n", 1, "routes: must be a list"),
    "empty routes": ("routes: []\n", 1, "routes: must be a list of 1 to 1000"),
    "unknown key": (ROUTE + "colour: red\n", 4, "unknown key 'colour'"),
    "unknown key in a route": (ROUTE + "    colour: red\n", 4, "unknown key 'colour'"),
    "unknown key in a policy": (ROUTE + "    policy: {retries: 3}\n", 4, "unknown key 'retries'"),
    "unknown key in a breaker": (ROUTE + "    policy:\n      breaker: {size: 3}\n", 5, "unknown key 'size'"),
    "key twice": (ROUTE + "    service: b\n", 4, "'service' is there twice"),
    "key is no text": ("1: a\n" + ROUTE, 1, "a key must be text"),
    "merge key": ("x: &x {service: a}\nroutes:\n  - <<: *x\n    path: /a\n", 3, "a key must be text"),
    "no service": ("routes:\n  - path: /a\n", 2, "'service' is missing"),
    "no path": ("routes:\n  - service: a\n", 2, "'path' is missing"),
    "path is a number": ("routes:\n  - path: 12\n    service: a\n", 2, "path: must be text"),
    "path without slash": ("routes:\n  - path: a\n    service: a\n", 2, "'a' is not valid"),
    "path with dots": ("routes:\n  - path: /a/../b\n    service: a\n", 2, "dot segment"),
    "path with a percent": ("routes:\n  - path: /a%20b\n    service: a\n", 2, "is not valid"),
    "variable in a prefix": ("routes:\n  - path: /a/{b}\n    service: a\n", 2, "is not valid"),
    "path is ours": ("routes:\n  - path: /health/x\n    service: a\n", 2, "gateway's own"),
    "service name": ("routes:\n  - path: /a\n    service: http://evil\n", 3, "is not valid"),
    "rewrite": (ROUTE + "    rewrite: products\n", 4, "is not valid"),
    "method": (ROUTE + "    methods: [get]\n", 4, "'get' is not valid"),
    "methods no list": (ROUTE + "    methods: GET\n", 4, "must be a list"),
    "total is text": (ROUTE + "    policy: {total: fast}\n", 4, "total: must be a number"),
    "total is zero": (ROUTE + "    policy: {total: 0}\n", 4, "total: must be a number"),
    "total is huge": (ROUTE + "    policy: {total: 1e9}\n", 4, "total: must be a number"),
    "total is nan": (ROUTE + "    policy: {total: .nan}\n", 4, "total: must be a number"),
    "attempts no whole number": (ROUTE + "    policy: {attempts: 1.5}\n", 4, "attempts: must be a whole number"),
    "attempts without end": (ROUTE + "    policy: {attempts: 1000}\n", 4, "attempts: must be a number from 1 to 10"),
    "size": ("limits: {body: 1 MB}\n" + ROUTE, 1, "body: must be a size"),
    "size is huge": ("limits: {body: 999 GiB}\n" + ROUTE, 1, "body: must be a size"),
    "duplicate route": (ROUTE + "  - path: /a\n    service: b\n", 4, "/a is routed already on line 2"),
    "duplicate method": (
        "routes:\n  - {path: /a, service: a, methods: [GET, PUT]}\n  - {path: /a, service: a, methods: [PUT]}\n",
        3,
        "routed already on line 2",
    ),
    "same shape": (
        (
            "routes:\n"
            "  - {path: '/a/{x}', aggregate: {parts: {p: {service: s, path: /}}}}\n"
            "  - {path: '/a/{y}', aggregate: {parts: {p: {service: s, path: /}}}}\n"
        ),
        3,
        "routed already on line 2",
    ),
    "service beside aggregate": (
        "routes:\n  - path: /a\n    service: a\n    aggregate: {parts: {p: {service: s, path: /}}}\n",
        3,
        "unknown key 'service'",
    ),
    "no parts": ("routes:\n  - path: /a\n    aggregate: {deadline: 1}\n", 3, "'parts' is missing"),
    "part name": (
        "routes:\n  - path: /a\n    aggregate: {parts: {P-1: {service: s, path: /}}}\n",
        3,
        "not a valid name",
    ),
    "part named missing": (
        "routes:\n  - path: /a\n    aggregate: {parts: {missing: {service: s, path: /}}}\n",
        3,
        "name of the list",
    ),
    "unknown variable": (
        "routes:\n  - path: '/a/{x}'\n    aggregate:\n      parts:\n        p: {service: s, path: '/{y}'}\n",
        5,
        "{y} is not a variable",
    ),
    "variable twice": (
        "routes:\n  - path: '/{x}/{x}'\n    aggregate: {parts: {p: {service: s, path: /}}}\n",
        2,
        "variable twice",
    ),
    "required is no flag": (
        "routes:\n  - path: /a\n    aggregate: {parts: {p: {service: s, path: /, required: 1}}}\n",
        3,
        "required: must be true or false",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line(mistake: str) -> None:
    """Every mistake raises ConfigurationError that names the file, the line and what is wrong."""
    text, line, words = MISTAKES[mistake]
    with pytest.raises(ConfigurationError) as caught:
        GatewaySpec.parse(text, source="gateway.yaml")
    assert words in str(caught.value)
    assert (caught.value.source, caught.value.line) == ("gateway.yaml", line)


def test_one_path_may_have_a_route_for_a_method_and_one_for_all() -> None:
    """A route with methods beside one that takes all is no duplicate."""
    spec = GatewaySpec.parse(ROUTE + "  - {path: /a, service: b, methods: [POST]}\n")
    assert len(spec.routes) == 2


def test_an_anchor_does_not_expand_without_end() -> None:
    """A document that repeats itself exponentially is refused by its shape, not expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigurationError, match="routes"):
        GatewaySpec.parse("\n".join(lines))


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    """A missing file is named, without a traceback."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        GatewaySpec.load(tmp_path / "nowhere.yaml")
