"""What was compiled and packed before is used again, and changes nothing about what comes out."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from skerry.envoy.messages import Messages
from skerry.errors import ConfigurationError
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.envoy.memory import Memory
from skerry.gateway.model import (
    Auth,
    Backend,
    Forward,
    GatewaySpec,
    HeaderEdit,
    JwtProvider,
    Limits,
    Listener,
    Match,
    Mirror,
    PathMatch,
    PolicySpec,
    RateSpec,
    Respond,
    Route,
    Strangle,
    Tls,
)
from skerry.gateway.strangler import Share, Shares, applied

ADDRESSES = {"a": ("http://10.0.0.1:8000",), "b": ("http://10.0.0.2:8000",)}
TO_A = Forward((Backend("a"),))
PLAIN = Route("plain", (Match(), Match(PathMatch("exact", "/x"), frozenset({"GET"}))), TO_A)
MIRRORED = Route("mirrored", (Match(PathMatch("prefix", "/m")),), Forward((Backend("a"),), mirrors=(Mirror("b"),)))
LIMITED = Route("limited", (Match(PathMatch("prefix", "/l")),), TO_A, rate=RateSpec(5), body=100, compress=True)
GUARDED = Route("guarded", (Match(PathMatch("prefix", "/g")),), TO_A, auth=Auth(("id",)))
FIXED = Route(
    "fixed", (Match(PathMatch("prefix", "/f")),), Respond(200, "x"), response_headers=HeaderEdit(set=(("a", "b"),))
)
STRANGLED = Route("s", (Match(PathMatch("prefix", "/s")),), Forward((Backend("a"),), strangle=Strangle("a", "b")))
WRONG = Route("wrong", (Match(PathMatch("prefix", "/w")),), TO_A, policy=PolicySpec(adaptive=True))
TOKENS = (JwtProvider("id", "https://id.example", ("shop",), jwks_url="https://id.example/keys"),)


def spec(*routes: Route, percent: float = 0.0, **fields: Any) -> GatewaySpec:
    share = Share(percent, compared=percent > 0)
    return applied(GatewaySpec(routes=routes, **{"providers": TOKENS, **fields}), Shares(1, {"s": share}))


SPECS = (
    spec(PLAIN, MIRRORED, LIMITED, GUARDED, FIXED, STRANGLED),
    spec(PLAIN, FIXED),
    spec(PLAIN, MIRRORED, LIMITED, STRANGLED, percent=25.0),
    spec(PLAIN, LIMITED, limits=Limits(body=50)),
    spec(
        PLAIN,
        GUARDED,
        providers=(JwtProvider("id", "https://other.example", ("shop",), jwks_url="https://o.example/k"),),
    ),
    spec(PLAIN, LIMITED, listeners=(Listener(port=1), Listener("tls", port=2, tls=Tls("no.pem", "no.key")))),
    spec(PLAIN, WRONG),
)


def outcome(value: GatewaySpec, memory: Memory | None) -> object:
    try:
        return compiled(value, addresses=ADDRESSES, memory=memory)
    except ConfigurationError as error:
        return str(error)


def test_what_was_compiled_before_changes_nothing_about_what_comes_out() -> None:
    """After any specification, any other is compiled as if it were the first, with all that is told about it."""
    for before, after in product(SPECS, SPECS):
        memory = Memory()
        for value in (before, after, before, after):
            assert outcome(value, memory) == outcome(value, None)


def test_routes_that_stay_are_not_compiled_again() -> None:
    """Their part of the configuration is the same object, which is known to who packs it."""
    memory, fresh = Memory(), Route("fixed", FIXED.matches, Respond(200, "y"))
    first = compiled(spec(PLAIN, FIXED), addresses=ADDRESSES, memory=memory)
    second = compiled(spec(PLAIN, fresh), addresses=ADDRESSES, memory=memory)
    mine, theirs = (_routes(made.resources.routes, "plain") for made in (first, second))
    assert mine
    assert all(one is other for one, other in zip(mine, theirs, strict=True))


def test_another_address_compiles_all_of_it_again() -> None:
    """A cluster that was remembered with an old address would lead to nobody."""
    memory = Memory()
    compiled(spec(PLAIN), addresses=ADDRESSES, memory=memory)
    moved = {**ADDRESSES, "a": ("http://10.0.0.9:8000",)}
    made = compiled(spec(PLAIN), addresses=moved, memory=memory)
    assert made == compiled(spec(PLAIN), addresses=moved)


@pytest.mark.parametrize("value", SPECS[:-1])
def test_routes_put_together_from_bytes_are_what_the_whole_would_be(value: GatewaySpec) -> None:
    """Packed one by one, by identity and by text, they are read by Envoy as if they had been packed at once."""
    from envoy.config.route.v3.route_pb2 import RouteConfiguration
    from google.protobuf import json_format

    messages = Messages()
    for made in (compiled(value, addresses=ADDRESSES), compiled(value, addresses=ADDRESSES)):
        for _ in range(2):
            packed = messages.packed("routes", made.resources.routes)
        for name, plain in made.resources.routes.items():
            whole, parts = RouteConfiguration(), RouteConfiguration()
            json_format.ParseDict(plain, whole)
            assert packed[name].Unpack(parts)
            assert parts == whole


def _routes(tables: Any, name: str) -> list[Any]:
    return [
        route
        for table in tables.values()
        for host in table["virtual_hosts"]
        for route in host["routes"]
        if route.get("name") == name
    ]
