"""A specification that was put together in Python is checked like one that was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway import reading
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
    Part,
    PathMatch,
    PolicySpec,
    RateSpec,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Route,
    Service,
    Sticky,
    ValueMatch,
)

ROUTE = Route("a", (Match(PathMatch("prefix", "/a")),), Forward((Backend("a"),)))
SPEC = GatewaySpec(routes=(ROUTE,), services=(Service("a"),))
PART = Part("p", "a", "/p")


def changed(**route: Any) -> GatewaySpec:
    return replace(SPEC, routes=(replace(ROUTE, **route),))


def provided(**provider: Any) -> GatewaySpec:
    good = JwtProvider("u", "i", ("a",), jwks_file="f")
    return replace(SPEC, providers=(replace(good, **provider),))


def aggregated(*parts: Part, deadline: float = 1.0) -> GatewaySpec:
    return changed(action=Aggregate(deadline, parts), matches=(Match(PathMatch("exact", "/a")),))


WRONG: dict[str, Callable[[], GatewaySpec]] = {
    "routes: there must be 1 to 1000 routes": lambda: replace(SPEC, routes=()),
    "listeners: there must be one at least": lambda: replace(SPEC, listeners=()),
    "listeners[0].port: must be a whole number from 0 to 65535": lambda: replace(
        SPEC, listeners=(Listener(port=70_000),)
    ),
    "listeners[0].hostnames[0]: 'A' is not a host name": lambda: replace(SPEC, listeners=(Listener(hostnames=("A",)),)),
    "listeners[1].name: 'http' is the name of another": lambda: replace(SPEC, listeners=(Listener(), Listener(port=1))),
    "limits.body: must be a whole number from 0": lambda: replace(SPEC, limits=Limits(body=-1)),
    "trusted_hops: must be a whole number from 0 to 16": lambda: replace(SPEC, trusted_hops=-1),
    "services.a: is there twice": lambda: replace(SPEC, services=(Service("a"), Service("a"))),
    "services.a.urls: 'file:///x' is not http://HOST:PORT": lambda: replace(
        SPEC, services=(Service("a", ("file:///x",)),)
    ),
    "services.a.connect: must be a number from 0.001 to 60": lambda: replace(SPEC, services=(Service("a", connect=0),)),
    "jwt.u: must not have both 'jwks_file' and 'jwks_url'": lambda: provided(jwks_url="https://id.example"),
    "jwt.u.issuer: keys are fetched by https": lambda: provided(jwks_file=None, issuer="http://id.example"),
    "jwt.u.audiences: there must be one at least": lambda: provided(audiences=()),
    "jwt.u.algorithms: must be some of RS256": lambda: provided(algorithms=("none",)),
    "jwt.u.algorithms: HS256 needs a secret": lambda: provided(
        algorithms=("HS256",), jwks_file=None, jwks_url="https://id.example"
    ),
    "jwt.u.leeway: must be a number from 0 to 300": lambda: provided(leeway=301),
    "routes[0].match: there must be one at least": lambda: changed(matches=()),
    "routes[0].match[0].methods: there must be one": lambda: changed(matches=(Match(methods=frozenset()),)),
    "routes[0].match[0].cookies.a b: 'a b' is not a name": lambda: changed(
        matches=(Match(cookies=(ValueMatch("a b", "c"),)),)
    ),
    "routes[0].match[0].headers.x: 'a\\nb' is not printable": lambda: changed(
        matches=(Match(headers=(ValueMatch("x", "a\nb"),)),)
    ),
    "routes[0].policy.total: must be a number from": lambda: changed(policy=PolicySpec(total=-1)),
    "routes[0].policy.retry.attempts: must be a whole": lambda: changed(policy=PolicySpec(retry=RetrySpec(attempts=0))),
    "routes[0].policy.retry.statuses: must be statuses": lambda: changed(
        policy=PolicySpec(retry=RetrySpec(statuses=frozenset({200})))
    ),
    "routes[0].policy.breaker.window: must be a number": lambda: changed(
        policy=PolicySpec(breaker=BreakerSpec(window=0))
    ),
    "routes[0].policy.breaker: opens never": lambda: changed(policy=PolicySpec(breaker=BreakerSpec(None))),
    "routes[0].rate_limit.requests: must be a whole": lambda: changed(rate=RateSpec(0)),
    "routes[0].auth.providers: there must be one": lambda: changed(auth=Auth(())),
    "routes[0].cors: '*' is every origin": lambda: changed(cors=Cors(("*", "https://a.b"))),
    "routes[0].body: must not be negative": lambda: changed(body=-1),
    "routes[0].services: all weights are 0": lambda: changed(action=Forward((Backend("a", 0),))),
    "routes[0].services.a.weight: must be a whole": lambda: changed(action=Forward((Backend("a", -1), Backend("b")))),
    "routes[0].services.a.request_headers.set.Host": lambda: changed(
        action=Forward((Backend("a", request_headers=HeaderEdit(set=(("Host", "x"),))),))
    ),
    "routes[0].request_headers.set.a: a is there twice": lambda: changed(
        request_headers=HeaderEdit(set=(("A", "x"), ("a", "y")))
    ),
    "routes[0].mirrors[0].percent: must be above 0": lambda: changed(
        action=Forward((Backend("a"),), mirrors=(Mirror("b", 0),))
    ),
    "routes[0].sticky: 'a b' is not a name": lambda: changed(
        action=Forward((Backend("a"),), sticky=Sticky("header", "a b"))
    ),
    "routes[0].rewrite: 'prefix' and 'full' contradict": lambda: changed(
        action=Forward((Backend("a"),), rewrite=Rewrite("/a", "/b"))
    ),
    "routes[0].rewrite.full: 'x' is not a path": lambda: changed(
        action=Forward((Backend("a"),), rewrite=Rewrite(full="x"))
    ),
    "routes[0].redirect.port: must be a whole": lambda: changed(action=Redirect(port=0)),
    "routes[0].respond.status: must be from 200": lambda: changed(action=Respond(100)),
    "routes[0].aggregate.deadline: must be above 0": lambda: aggregated(PART, deadline=0),
    "routes[0].aggregate.parts: must be 1 to 20": aggregated,
    "routes[0].aggregate.parts.p: is there twice": lambda: aggregated(PART, PART),
    "routes[0].aggregate.parts.P: 'P' is not a valid name": lambda: aggregated(replace(PART, name="P")),
    "routes[0].aggregate.parts.p.path: 'p' is not": lambda: aggregated(replace(PART, path="p")),
    "routes[0].aggregate.parts.p.query: 'a&b' is not": lambda: aggregated(replace(PART, query=("a&b",))),
    "routes[0].aggregate.parts.p.timeout: must be above": lambda: aggregated(replace(PART, timeout=0)),
    "routes[0].aggregate.parts.p.policy.queue: must be": lambda: aggregated(replace(PART, policy=PolicySpec(queue=-1))),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_contradicts_itself_is_told(message: str) -> None:
    """Each contradiction names its field as gateway.yaml has it."""
    with pytest.raises(ConfigurationError) as caught:
        reading.check(WRONG[message]())
    assert not isinstance(caught.value, Mistakes)
    assert str(caught.value).startswith(f"<spec>: {message}")


def test_a_good_specification_passes() -> None:
    """What fits together is no error."""
    reading.check(SPEC)


def test_all_contradictions_are_told_with_their_routes() -> None:
    """Several mistakes are one error that has them all."""
    with pytest.raises(Mistakes) as caught:
        reading.check(replace(SPEC, trusted_hops=99, routes=(replace(ROUTE, body=-1),)))
    assert [each.field for each in caught.value.all] == ["trusted_hops", "routes[0].body"]
    assert str(caught.value.all[1]).endswith("(route 'a')")


def test_a_service_without_an_address_is_told_where_addresses_are_known() -> None:
    """Any name may come from the surroundings, so only who knows these can miss one."""
    with pytest.raises(ConfigurationError, match=r"nobody says where 'a' is: .*SKERRY_URL_"):
        reading.check_addresses(SPEC, {"b": ("http://b:1",)})
    reading.check_addresses(SPEC, {"a": ("http://a:1",)})
    reading.check_addresses(replace(SPEC, services=(Service("a", ("http://a:1",)),)), {})


def test_doubles_are_no_mistake_where_the_first_wins() -> None:
    """Manifests of the Gateway API may say the same twice: the first one answers."""
    twice = replace(SPEC, routes=(ROUTE, replace(ROUTE, name="b")))
    with pytest.raises(ConfigurationError, match=r"/a is routed already by routes\[0\]"):
        reading.check(twice)
    reading.check(replace(twice, first_wins=True))


def test_an_error_never_tells_more_of_a_value_than_its_beginning() -> None:
    """A value that is wrong may be a secret in the wrong place: only its first characters are shown."""
    with pytest.raises(ConfigurationError) as caught:
        reading.parse(f"routes:\n  - path: /a\n    service: {'A' * 500}\n")
    assert len(str(caught.value)) < 250
