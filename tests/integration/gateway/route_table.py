"""Our own table of HTTPRoute cases: what the Gateway API asks of core and extended routes, in the shape that `conformance` runs.

Paths, hosts and values are ours; the facts are those of the specification.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def to(*names: str) -> list[Json]:
    return [{"name": name, "weight": 1} for name in names]


def prefix(path: str, **more: Any) -> Json:
    return {"path": {"prefix": path}, **more}


def exact(path: str, **more: Any) -> Json:
    return {"path": {"exact": path}, **more}


def regex(path: str, **more: Any) -> Json:
    return {"path": {"regex": path}, **more}


def rule(*matches: Json, backends: list[Json] | None = None, **more: Any) -> Json:
    made: Json = {"match": list(matches), **more}
    if backends is not None:
        made["backends"] = backends
    return made


def case(path: str, backend: str | None = None, status: int = 200, **more: Any) -> Json:
    """`more` with the words of a request goes to the request, the rest to what is expected."""
    request: Json = {"method": more.pop("method", "GET"), "path": path}
    request |= {key: more.pop(key) for key in ("headers", "host", "body", "port") if key in more}
    made: Json = {"request": request}
    made |= {key: more.pop(key) for key in ("backend_script", "repeat") if key in more}
    made["expect"] = {"status": status, **({"backend": backend} if backend else {}), **more}
    return made


def group(name: str, rules: list[Json], cases: list[Json], **more: Any) -> Json:
    return {"group": name, "feature": more.pop("feature", "core"), **more, "rules": rules, "cases": cases}


PATHS = [
    group(
        "prefix-by-segment",
        [
            rule(prefix("/"), backends=to("v1")),
            rule(prefix("/shop"), backends=to("v2")),
            rule(prefix("/shop/cart/"), backends=to("v3")),
        ],
        [
            case("/", "v1"),
            case("/other", "v1"),
            case("/shop", "v2"),
            case("/shop/", "v2"),
            case("/shop/lamps", "v2"),
            case("/shopping", "v1"),
            case("/SHOP", "v1"),
            case("/shop?x=/", "v2"),
            case("/shop/cart", "v3"),
            case("/shop/cart/1", "v3"),
            case("/shop/carts", "v2"),
        ],
    ),
    group(
        "exact-before-prefix",
        [
            rule(prefix("/a"), backends=to("v1")),
            rule(exact("/a/b"), backends=to("v2")),
            rule(prefix("/a/b/c"), backends=to("v3")),
        ],
        [
            case("/a", "v1"),
            case("/a/b", "v2"),
            case("/a/b?q=1", "v2"),
            case("/a/b/", "v1"),
            case("/a/b/c", "v3"),
            case("/a/b/c/d", "v3"),
            case("/b", status=404),
        ],
    ),
    group(
        "longer-prefix-first",
        [
            rule(prefix("/m"), backends=to("v3")),
            rule(prefix("/m/one/two"), backends=to("v2")),
            rule(prefix("/m/one"), backends=to("v1")),
            rule(exact("/m/one/two/three"), backends=to("v1")),
            rule(prefix("/m/one/two/"), backends=to("v3")),
        ],
        [
            case("/m", "v3"),
            case("/m/one", "v1"),
            case("/m/one/x", "v1"),
            case("/m/one/two", "v2"),
            case("/m/one/two/x", "v2"),
            case("/m/one/two/three", "v1"),
        ],
    ),
    group(
        "regex-path",
        [
            rule(regex("/items/[0-9]+"), backends=to("v1")),
            rule(regex("/items/[a-z]+/(red|blue)"), backends=to("v2")),
        ],
        [
            case("/items/42", "v1"),
            case("/items/42/x", status=404),
            case("/xitems/42", status=404),
            case("/items/lamp/red", "v2"),
            case("/items/lamp/redder", status=404),
            case("/items/", status=404),
        ],
        feature="implementation",
    ),
    group(
        "no-match-is-everything",
        [{"backends": to("v2")}],
        [case("/", "v2"), case("/deep/er", "v2"), case("/x", "v2", method="DELETE")],
    ),
    group(
        "paths-are-normalised-once",
        [rule(prefix("/open"), backends=to("v1")), rule(prefix("/closed"), backends=to("v2"))],
        [
            case("/open/./x", "v1", upstream={"path": "/open/x"}),
            case("/open/../closed/x", "v2", upstream={"path": "/closed/x"}),
            case("/open/%2e%2e/closed/x", "v2", upstream={"path": "/closed/x"}),
        ],
        feature="implementation",
    ),
    group(
        "query-goes-on-as-it-is",
        [rule(prefix("/"), backends=to("v1"))],
        [
            case("/x?a=%20b&a=2&&c", "v1", upstream={"path": "/x?a=%20b&a=2&&c"}),
            case("/x?", "v1"),
            case("/x?a=/../y", "v1", upstream={"path": "/x?a=/../y"}),
        ],
    ),
]

MATCHES = [
    group(
        "methods",
        [
            rule({"method": "POST"}, backends=to("v1")),
            rule({"method": "GET"}, backends=to("v2")),
            rule(prefix("/path1", method="GET"), backends=to("v1")),
            rule({"method": "PUT", "headers": {"version": "one"}}, backends=to("v2")),
            rule(prefix("/path2", method="POST", headers={"version": "two"}), backends=to("v3")),
            rule(
                prefix("/path3", method="PATCH"),
                prefix("/path4", method="DELETE", headers={"version": "three"}),
                backends=to("v1"),
            ),
        ],
        [
            case("/", "v1", method="POST"),
            case("/", "v2"),
            case("/", status=404, method="DELETE"),
            case("/path1", "v1"),
            case("/", "v2", method="PUT", headers={"Version": "one"}),
            case("/", status=404, method="PUT"),
            case("/path2", "v3", method="POST", headers={"Version": "two"}),
            case("/path2", "v1", method="POST"),
            case("/path3", "v1", method="PATCH"),
            case("/path3", status=404, method="DELETE"),
            case("/path4", "v1", method="DELETE", headers={"Version": "three"}),
            case("/path4", status=404, method="DELETE"),
        ],
        feature="extended",
    ),
    group(
        "what-goes-before-what",
        [
            rule(prefix("/p"), backends=to("v1")),
            rule(prefix("/p", method="GET"), backends=to("v2")),
            rule(prefix("/p", headers={"color": "red"}), backends=to("v3")),
            rule(prefix("/q", headers={"color": "red"}), backends=to("v1")),
            rule(prefix("/q", headers={"color": "red", "size": "xl"}), backends=to("v2")),
            rule(prefix("/r", query={"a": "1"}), backends=to("v1")),
            rule(prefix("/r", query={"a": "1", "b": "2"}), backends=to("v2")),
            rule(prefix("/r", headers={"color": "red"}), backends=to("v3")),
            rule(prefix("/s", query={"a": "1"}), backends=to("v3")),
            rule(prefix("/s", query={"b": "2"}), backends=to("v2")),
        ],
        [
            case("/p", "v2", why="a method goes before none"),
            case("/p", "v2", headers={"color": "red"}, why="a method goes before headers"),
            case("/p", "v3", method="POST", headers={"color": "red"}),
            case("/p", "v1", method="POST"),
            case("/q", "v2", headers={"color": "red", "size": "xl"}, why="more headers go first"),
            case("/q", "v1", headers={"color": "red"}),
            case("/q", status=404),
            case("/r?a=1&b=2", "v2", why="more query parameters go first"),
            case("/r?a=1&b=2", "v3", headers={"color": "red"}, why="headers go before query parameters"),
            case("/r?a=1", "v1"),
            case("/s?a=1&b=2", "v3", why="the first of equals"),
        ],
    ),
    group(
        "headers-match-as-values",
        [
            rule({"headers": {"X-Tier": "gold"}}, backends=to("v1")),
            rule({"headers": {"x-tier": "silver", "x-area": "north"}}, backends=to("v2")),
        ],
        [
            case("/", "v1", headers={"x-tier": "gold"}),
            case("/", "v1", headers={"X-TIER": "gold"}),
            case("/", status=404, headers={"X-Tier": "Gold"}),
            case("/", status=404, headers={"X-Tier": "golden"}),
            case("/", "v2", headers={"X-Area": "north", "X-Tier": "silver"}),
            case("/", status=404, headers={"X-Tier": "silver"}),
        ],
    ),
    group(
        "regex-values",
        [
            rule({"headers": {"version": {"regex": "v[0-9]+"}}}, backends=to("v1")),
            rule({"query": {"id": {"regex": "[a-f]{4}"}}}, backends=to("v2")),
        ],
        [
            case("/", "v1", headers={"version": "v12"}),
            case("/", status=404, headers={"version": "v12b"}),
            case("/", status=404, headers={"version": "av12"}),
            case("/?id=abcd", "v2"),
            case("/?id=abcde", status=404),
        ],
        feature="implementation",
    ),
    group(
        "query-values",
        [
            rule({"query": {"animal": "whale"}}, backends=to("v1")),
            rule({"query": {"animal": "grey seal"}}, backends=to("v2")),
        ],
        [
            case("/?animal=whale", "v1"),
            case("/?x=1&animal=whale", "v1"),
            case("/?Animal=whale", status=404),
            case("/?animal=Whale", status=404),
            case("/?animal=", status=404),
            case("/?animal", status=404),
            case("/?animal=whale&animal=dog", "v1", why="the first of repeated parameters"),
        ],
        feature="extended",
    ),
]

HOSTS = [
    group(
        "listener-hosts",
        [rule(prefix("/"), backends=to("v1"))],
        [
            case("/", "v1", host="shop.example.com"),
            case("/", "v1", host="SHOP.example.COM"),
            case("/", "v1", host="shop.example.com:8080"),
            case("/", "v1", host="a.sale.example.com"),
            case("/", "v1", host="a.b.sale.example.com"),
            case("/", status=404, host="sale.example.com"),
            case("/", status=404, host="other.example.com"),
            case("/", status=404, host="xshop.example.com"),
        ],
        listeners=["shop.example.com", "*.sale.example.com"],
    ),
    group(
        "listeners-by-name",
        [
            rule(prefix("/"), backends=to("v1"), listeners=["first"]),
            rule(prefix("/"), backends=to("v2"), listeners=["second", "third"]),
            rule(prefix("/"), backends=to("v3"), listeners=["fourth"]),
        ],
        [
            case("/", "v1", host="bar.com"),
            case("/", "v2", host="foo.bar.com"),
            case("/", "v2", host="x.bar.com"),
            case("/", "v3", host="x.foo.com"),
            case("/", "v3", host="y.x.foo.com"),
            case("/", status=404, host="foo.com"),
            case("/", status=404, host="no.match"),
        ],
        listeners=[
            {"name": "first", "host": "bar.com"},
            {"name": "second", "host": "foo.bar.com"},
            {"name": "third", "host": "*.bar.com"},
            {"name": "fourth", "host": "*.foo.com"},
        ],
    ),
    group(
        "listeners-by-port",
        [
            rule(prefix("/"), backends=to("v1"), listeners=["plain"]),
            rule(prefix("/"), backends=to("v2"), listeners=["other"]),
        ],
        [case("/", "v1", port=80), case("/", "v2", port=8080)],
        listeners=[{"name": "plain", "port": 80}, {"name": "other", "port": 8080}],
    ),
    group(
        "the-more-specific-host-first",
        [
            rule(prefix("/"), backends=to("v1")),
            rule(prefix("/"), backends=to("v2"), hostnames=["*.example.com"]),
            rule(prefix("/deep"), backends=to("v1"), hostnames=["*.example.com"]),
            rule(prefix("/"), backends=to("v3"), hostnames=["www.example.com", "*.www.example.com"]),
        ],
        [
            case("/", "v1", host="example.com"),
            case("/", "v2", host="api.example.com"),
            case("/", "v2", host="a.api.example.com"),
            case("/", "v3", host="www.example.com"),
            case("/deep", "v3", host="www.example.com", why="the host goes before the path"),
            case("/deep", "v1", host="api.example.com"),
            case("/", "v3", host="x.www.example.com"),
            case("/", "v1", host="elsewhere.test"),
        ],
    ),
]

GROUPS = [*PATHS, *MATCHES, *HOSTS]
