"""A specification becomes manifests of the Gateway API, and what these have no words for is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.gateway import kubernetes, reading
from skerry.gateway.kubernetes.rules import POLICY
from skerry.gateway.model import (
    Aggregate,
    Auth,
    Backend,
    BreakerSpec,
    Cors,
    Forward,
    GatewaySpec,
    HeaderEdit,
    JwtProvider,
    Limits,
    Listener,
    Match,
    Mirror,
    PathMatch,
    RateSpec,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Route,
    Sticky,
    Strangle,
    Tls,
    ValueMatch,
)

ROUTE = Route("a", (Match(PathMatch("prefix", "/a")),), Forward((Backend("a"),)), policy=POLICY)
TWO = (Listener("http", port=80), Listener("other", port=81))
SPEC = GatewaySpec(routes=(ROUTE,))
SEVERAL = (
    replace(
        ROUTE,
        name="one",
        matches=(
            Match(
                PathMatch("exact", "/x"),
                frozenset({"GET"}),
                (ValueMatch("x-a", "1"),),
                (ValueMatch("q", ".*", regex=True),),
            ),
            Match(PathMatch("regex", "/y[0-9]+")),
        ),
        action=Forward(
            (Backend("a", 3, HeaderEdit(set=(("A", "1"),))), Backend("b")), mirrors=(Mirror("c", 12.5), Mirror("d"))
        ),
        hostnames=("a.b", "*.c.d"),
        listeners=("http",),
        policy=replace(
            POLICY,
            total=None,
            attempt=0.25,
            retry=RetrySpec(3, frozenset({500}), unsafe=True, budget=0.2, per_second=10.0),
        ),
        request_headers=HeaderEdit((("A", "1"),), (("B", "2"),), ("C",)),
        response_headers=HeaderEdit(remove=("D",)),
        cors=Cors(("https://a.b",), ("GET",), ("x-a",), ("x-b",), credentials=True, max_age=60),
    ),
    replace(ROUTE, name="two", action=Redirect("https", "a.b", 8443, prefix="/z", status=301)),
    replace(ROUTE, name="three", action=Forward((Backend("a"),), rewrite=Rewrite(full="/z", host="x.y"))),
    replace(ROUTE, name="four", action=Forward(())),
)


def objects(spec: GatewaySpec) -> list[Any]:
    return list(yaml.safe_load_all(kubernetes.write(spec).text))


def test_a_round_trip_keeps_all_that_is_written(tmp_path: Path) -> None:
    """What is written and read again is the same, but for the names of the routes and their lines."""
    spec = GatewaySpec(
        name="g",
        listeners=TWO,
        routes=SEVERAL,
        limits=Limits(body=1024**3),
        first_wins=True,
    )
    made = kubernetes.write(spec)
    assert made.lost == ()
    file = tmp_path / "m.yaml"
    file.write_text(made.text)
    again = kubernetes.read(file, backends=None)
    plain = [replace(route, name=spec.routes[index].name, line=0) for index, route in enumerate(again.routes)]
    assert plain == list(spec.routes)
    assert (again.listeners, again.name) == (spec.listeners, "g")


def test_writing_what_was_read_says_the_same_again(tmp_path: Path) -> None:
    """The second export is that of the first, so nothing wanders."""
    spec = GatewaySpec(name="g", listeners=TWO, routes=SEVERAL, first_wins=True)
    (tmp_path / "m.yaml").write_text(kubernetes.write(spec).text)
    again = kubernetes.read(tmp_path / "m.yaml", backends=None)
    names = re.compile(r"name: g-[0-9]{4}.*")
    assert names.sub("", kubernetes.write(again).text) == names.sub("", kubernetes.write(spec).text)


def test_names_of_routes_keep_their_order() -> None:
    """The Gateway API settles a tie by the order of names: the first route has to have the first name."""
    spec = replace(SPEC, routes=tuple(replace(ROUTE, name=name) for name in ("z", "Ä!", "a" * 100)))
    names = [each["metadata"]["name"] for each in objects(spec)[1:]]
    assert names == sorted(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in names)


def test_a_listener_of_several_hosts_is_several() -> None:
    """A listener of the Gateway API has one host at most."""
    spec = replace(SPEC, listeners=(Listener(hostnames=("a.b", "c.d")),), routes=(replace(ROUTE, listeners=("http",)),))
    gate, route = objects(spec)
    told = [(each["name"], each["hostname"]) for each in gate["spec"]["listeners"]]
    assert told == [("http", "a.b"), ("http-2", "c.d")]
    assert [each["sectionName"] for each in route["spec"]["parentRefs"]] == ["http", "http-2"]


def test_methods_are_matches_of_their_own() -> None:
    """A match of the Gateway API has one method at most."""
    spec = replace(SPEC, routes=(replace(ROUTE, matches=(Match(methods=frozenset({"POST", "GET"})),)),))
    matches = objects(spec)[1]["spec"]["rules"][0]["matches"]
    assert [each["method"] for each in matches] == ["GET", "POST"]


def test_a_template_becomes_a_regular_expression() -> None:
    """Its variables are one segment each, and what stands beside them is taken as it is written."""
    spec = replace(SPEC, routes=(replace(ROUTE, matches=(Match(PathMatch("template", "/a.b/{x}/c")),)),))
    path = objects(spec)[1]["spec"]["rules"][0]["matches"][0]["path"]
    assert path["type"] == "RegularExpression"
    assert re.fullmatch(path["value"], "/a.b/1/c")
    assert not re.fullmatch(path["value"], "/axb/1/c")
    assert not re.fullmatch(path["value"], "/a.b/1/2/c")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (2.0, "2s"), (90.0, "90s"), (3600.0, "1h"), (1.25, "1s250ms"), (0.0001, "1ms"), (None, "0s")],
)
def test_durations_are_written_by_gep_2257(seconds: float | None, text: str) -> None:
    """None is no bound, which is `0s`; what is less than a millisecond is one, for zero would be no bound."""
    spec = replace(SPEC, routes=(replace(ROUTE, policy=replace(POLICY, total=seconds)),))
    assert objects(spec)[1]["spec"]["rules"][0]["timeouts"] == {"request": text}


LOSSES = {
    "route 'a': policy.breaker": {"policy": replace(POLICY, breaker=BreakerSpec())},
    "route 'a': policy: concurrency, queue and adaptive": {"policy": replace(POLICY, adaptive=True)},
    "route 'a': policy.retry: its budget": {"policy": replace(POLICY, retry=RetrySpec(2, unsafe=True))},
    "route 'a': policy.retry.unsafe: what is not idempotent MAY BE SENT TWICE in what is written": {
        "policy": replace(POLICY, retry=replace(POLICY.retry, attempts=2, unsafe=False))
    },
    "route 'a': rate_limit": {"rate": RateSpec(1)},
    "route 'a': auth: THE ROUTE IS OPEN TO ALL in what is written": {"auth": Auth(("u",))},
    "route 'a': compress": {"compress": True},
    "route 'a': body": {"body": 1},
    "route 'a': sticky": {"action": Forward((Backend("a"),), sticky=Sticky("header", "x"))},
    "route 'a': strangle: ALL REQUESTS GO TO a in what is written": {
        "action": Forward((Backend("a"), Backend("b", 0)), strangle=Strangle("a", "b"))
    },
    "route 'a': cookies: their condition is gone, so the route takes MORE in what is written": {
        "matches": (Match(cookies=(ValueMatch("a", "b"),)),)
    },
    "route 'a': the whole route, a fixed answer": {"action": Respond(200)},
    "route 'a': the whole route, an aggregate": {"action": Aggregate(1.0, ())},
}


@pytest.mark.parametrize("lost", LOSSES)
def test_what_a_route_loses_is_told(lost: str) -> None:
    """Each loss is a sentence that names the route."""
    assert kubernetes.write(replace(SPEC, routes=(replace(ROUTE, **LOSSES[lost]),))).lost == (lost,)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"limits": Limits(body=1)}, "limits"),
        ({"trusted_hops": 1}, "trusted_hops"),
        ({"providers": (JwtProvider("u", "i", ("a",)),)}, "jwt: whose tokens are believed"),
        ({"listeners": (Listener(tls=Tls("a", "b")),)}, "listener 'http': tls; its certificate belongs into a Secret"),
        ({"listeners": (Listener(port=0),)}, "listener 'http': any free port; 80 is written"),
    ],
)
def test_what_a_gateway_loses_is_told(change: dict[str, Any], lost: str) -> None:
    """So is what belongs to no route."""
    assert kubernetes.write(replace(SPEC, **change)).lost == (lost,)


def test_a_strangled_route_is_written_as_its_control() -> None:
    """What is not there to move it leaves it where it is, whatever the shares of the moment are."""
    action = Forward((Backend("a", 100), Backend("b", 9900)), strangle=Strangle("a", "b"))
    spec = replace(SPEC, routes=(replace(ROUTE, action=action),))
    written = objects(spec)[1]["spec"]["rules"][0]["backendRefs"]
    assert [(backend["name"], backend.get("weight", 1)) for backend in written] == [("a", 1)]


def test_a_route_that_cannot_be_written_is_not() -> None:
    """A fixed answer has no HTTPRoute, rather than one that does something else."""
    spec = replace(SPEC, routes=(replace(ROUTE, action=Respond(200)),))
    assert [each["kind"] for each in objects(spec)] == ["Gateway"]


def test_the_shop_loses_what_is_listed() -> None:
    """Of the example shop the aggregate is lost, and of each route its breaker and its numbers of calls."""
    spec = reading.read(Path(__file__).parents[4] / "examples/shop/gateway.yaml")
    lost = kubernetes.write(spec).lost
    assert "route '/api/orders/{order_id}': the whole route, an aggregate" in lost
    assert "route '/api/products': policy.breaker" in lost
