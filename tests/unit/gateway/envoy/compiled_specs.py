"""Specifications that have one of everything that is compiled and packed for Envoy."""

from __future__ import annotations

from typing import Any

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
