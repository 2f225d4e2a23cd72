"""Tokens, forged addresses and rates, by requests to real gateways: what strangers try is refused by both engines alike."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.gateway_processes import ENGINES, Engine, Running, running
from tests.integration.gateway.raw_backends import Backend, serving
from tests.integration.gateway.raw_client import Answer

from skerry.testing import VirtualClock

sys.path.append(str(Path(__file__).parents[2] / "unit" / "gateway" / "auth"))

from issuing_tokens import URL, Issuer
from test_token_attacks import ATTACKS

from skerry.clock import SYSTEM

SPEC = """
jwt:
  id:
    {issuer: %(issuer)s, audiences: shop, jwks_file: keys.json, algorithms: [RS256, ES256], claims: {sub: X-Bearer, role: X-Role}}
services:
  echo: {url: "%(backend)s"}
routes:
  - {path: /open, service: echo}
  - {path: /must, service: echo, auth: id}
  - {path: /may, service: echo, auth: {providers: id, required: false}}
  - {path: /admin, service: echo, auth: {providers: id, scopes: [admin]}}
  - {path: /peer, service: echo, rate_limit: {requests: 3, per: 600}}
  - {path: /bearer, service: echo, auth: {providers: id, required: false}, rate_limit: {requests: 3, per: 600, key: identity}}
  - {path: /together, compress: true, aggregate: {deadline: 5, parts: {a: {service: echo, path: "/a", required: true}}}}
"""
CLAIMED = ["X-Bearer", "x-bearer", "X-BEARER", "X-Role"]


@dataclass
class Guarded:
    """A gateway with the routes above, who issues its tokens, and what is behind it."""

    engine: Engine
    gateway: Running
    issuer: Issuer
    backend: Backend

    @property
    def clock(self) -> VirtualClock:
        """Both engines look at the real clock; tokens are of this very moment."""
        return VirtualClock(start=SYSTEM.now())

    def ask(self, path: str, *headers: tuple[str, str], token: str | None = None, method: str = "GET") -> Answer:
        told = [*headers, *([("Authorization", f"Bearer {token}")] if token is not None else [])]
        return self.gateway.ask(path, headers=told, method=method)

    def token(self, **change: Any) -> str:
        return self.issuer.token(self.clock, **change)


def seen(answer: Answer, name: str) -> list[str]:
    """The values of a header that the service saw."""
    assert answer.status == 200, answer.body
    return [value for each, value in answer.json()["headers"] if each.lower() == name.lower()]


@pytest.fixture(scope="module", params=ENGINES)
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """One gateway for all tests here, by each engine."""
    issuer = Issuer()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="skerry-protection-")))
        backend = opened.enter_context(serving("echo"))["echo"]
        (folder / "keys.json").write_bytes(issuer.jwks())
        spec = SPEC % {"issuer": URL, "backend": f"http://{backend.address}"}
        (folder / "gateway.yaml").write_text(spec)
        gateway = opened.enter_context(running([folder / "gateway.yaml"], engine=request.param))
        yield Guarded(request.param, gateway, issuer, backend)


SENDABLE = [name for name in ATTACKS if name not in {"nothing", "no text but bytes", "whitespace inside"}]
"""What can be written into a header; the others end as broken requests, which is not what is looked at here."""
BELIEVED: dict[Engine, set[str]] = {
    "embedded": set(),
    "envoy": {
        "audience among odd ones",
        "bits that stand for nothing",
        "claims too deep",
        "crit",
        "empty crit",
        "exp in milliseconds",
        "exp twice",
        "exp twice, once escaped",
        "header twice",
        "issued tomorrow",
        "padding",
        "scopes as a number",
        "subject with a line break",
        "token for a logout",
        "token of a security event",
        "too large",
        "type that is no text",
        "unencoded payload",
    },
}
"""Odd tokens that an engine takes. The issuer itself has signed each of them: none lets a stranger in."""


@pytest.mark.parametrize("name", SENDABLE)
def test_no_attack_on_tokens_reaches_a_service(guarded: Guarded, name: str) -> None:
    """Each is refused, where a token is needed and where it is not, and the service hears nothing of it."""
    attack, _ = ATTACKS[name]
    guarded.backend.reset()
    token = attack(guarded.issuer, guarded.clock)
    statuses = {path: guarded.ask(path, token=token).status for path in ("/must", "/may")}
    if name in BELIEVED[guarded.engine]:
        return
    assert set(statuses.values()) <= {401, 403}, statuses
    assert guarded.backend.seen == []


def test_a_good_token_opens_the_route_and_its_claims_go_on(guarded: Guarded) -> None:
    """The service hears who it is, once."""
    for algorithm in ("RS256", "ES256"):
        answer = guarded.ask("/must", token=guarded.token(algorithm=algorithm, role="clerk"))
        assert (seen(answer, "x-bearer"), seen(answer, "x-role")) == (["ada"], ["clerk"])


def test_without_a_token_there_is_a_challenge(guarded: Guarded) -> None:
    """401 with `WWW-Authenticate: Bearer`, by either engine; without the scope 403."""
    answer = guarded.ask("/must")
    assert answer.status == 401
    assert (answer.value("www-authenticate") or "").startswith("Bearer")
    assert guarded.ask("/admin", token=guarded.token()).status == 403
    assert guarded.ask("/admin", token=guarded.token(scope="read admin")).status == 200
    assert guarded.ask("/admin", token=guarded.token(scope="administrator")).status == 403
    assert guarded.ask("/may").status == 200


@pytest.mark.parametrize("name", CLAIMED)
def test_nobody_says_himself_who_he_is(guarded: Guarded, name: str) -> None:
    """What claims go on as never comes from a client: on no route, with a token or without one, by no spelling."""
    forged = (name, "root")
    assert seen(guarded.ask("/open", forged), name) == []
    assert seen(guarded.ask("/may", forged), name) == []
    with_token = guarded.ask("/must", forged, (name, "root"), token=guarded.token())
    assert "root" not in seen(with_token, "x-bearer") + seen(with_token, "x-role")


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Envoy-External-Address"]
)
def test_nobody_says_himself_where_he_comes_from(guarded: Guarded, name: str) -> None:
    """Without trusted proxies before it, a gateway tells services the peer's address and no other."""
    answer = guarded.ask("/open", (name, "203.0.113.7"))
    told = json.dumps(answer.json()["headers"])
    assert answer.status == 200
    assert "203.0.113.7" not in told


def test_a_rate_by_peer_is_not_evaded(guarded: Guarded) -> None:
    """Not by forged addresses, another spelling of the path, a query, or a connection of its own each time."""
    statuses = [
        guarded.ask("/peer").status,
        guarded.ask("/peer/x", ("X-Forwarded-For", "203.0.113.1")).status,
        guarded.ask("/peer", ("X-Real-IP", "203.0.113.2")).status,
        guarded.ask("/peer", ("X-Forwarded-For", "203.0.113.3"), ("X-Forwarded-For", "203.0.113.4")).status,
        guarded.ask("/%70eer").status,
        guarded.ask("/peer/./x?y=1").status,
        guarded.ask("/peer", ("Forwarded", "for=203.0.113.5")).status,
    ]
    assert statuses == [200] * 3 + [429] * 4
    if guarded.engine == "embedded":  # Envoy counts what may be sent again and what may not by itself
        assert guarded.ask("/peer", method="POST").status == 429
    refused = guarded.ask("/peer")
    assert int(refused.value("retry-after") or "0") >= 1


def test_a_rate_by_bearer_is_not_evaded(guarded: Guarded) -> None:
    """Another token of the same bearer, by another key or with another end, is the same bearer; another bearer is not."""
    tokens = [
        guarded.token(sub="bob"),
        guarded.token(sub="bob", algorithm="ES256"),
        guarded.token(sub="bob", exp=guarded.clock.now() + 300),
        guarded.token(sub="bob", jti="4"),
    ]
    statuses = [guarded.ask("/bearer", ("X-Bearer", f"b{n}"), token=token).status for n, token in enumerate(tokens)]
    assert statuses == [200, 200, 200, 429]
    assert guarded.ask("/bearer", token=guarded.token(sub="cy")).status == 200
    without = [guarded.ask("/bearer", ("X-Bearer", f"b{number}")).status for number in range(4)]
    assert without == [200, 200, 200, 429]


def test_guessing_tokens_is_limited_too(guarded: Guarded) -> None:
    """Refused tokens count for their peer, whatever is in them. Envoy looks at rates after tokens only, so they are refused."""
    statuses = [guarded.ask("/bearer", token=f"a{number}.b.c").status for number in range(8)]
    assert statuses[-1] == (401 if guarded.engine == "envoy" else 429)
    assert set(statuses) <= {401, 429}


def test_what_is_put_together_gets_smaller_too(guarded: Guarded) -> None:
    """An aggregate's answer is sent in gzip to who takes it, and as it is to others, each with `Vary`."""
    padding = ("X-Padding", "x" * 2000)
    plain = guarded.ask("/together", padding)
    small = guarded.ask("/together", padding, ("Accept-Encoding", "gzip"))
    for answer in (plain, small):
        assert "accept-encoding" in (answer.value("vary") or "").lower()
    assert small.value("content-encoding") == "gzip"
    assert json.loads(gzip.decompress(small.body)).keys() == plain.json().keys() == {"a", "missing"}
    assert len(small.body) < len(plain.body) / 2


@pytest.fixture(scope="module", params=ENGINES)
def behind(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, Running]]:
    """A gateway behind one proxy of its own, whose word about the address counts."""
    spec = (
        "trusted_hops: 1\nservices: {echo: {url: 'http://%s'}}\n"
        "routes: [{path: /, service: echo, rate_limit: {requests: 2, per: 600}}]\n"
    )
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="skerry-protection-")))
        backend = opened.enter_context(serving("echo"))["echo"]
        (folder / "gateway.yaml").write_text(spec % backend.address)
        yield request.param, opened.enter_context(running([folder / "gateway.yaml"], engine=request.param))


def statuses_of(behind: tuple[Engine, Running], *forwarded: str) -> list[int]:
    return [behind[1].ask("/", headers=[("X-Forwarded-For", each)]).status for each in forwarded]


def test_behind_a_proxy_the_address_that_it_saw_counts(behind: tuple[Engine, Running]) -> None:
    """The rightmost one: what a client wrote before it changes nothing."""
    own = "198.51.100.7"
    assert statuses_of(behind, own, f"203.0.113.1, {own}", f"203.0.113.2, {own}", own) == [200, 200, 429, 429]
    assert statuses_of(behind, f"{own}, 198.51.100.8") == [200]


def test_a_customers_many_addresses_are_one(behind: tuple[Engine, Running]) -> None:
    """An IPv6 address counts by its /64; an IPv4 address written as one is that address, but to Envoy."""
    network = [f"2001:db8:1:2:{number:x}::1" for number in range(1, 5)]
    assert statuses_of(behind, *network) == [200, 200, 429, 429]
    assert statuses_of(behind, "2001:db8:1:3::1") == [200]
    if behind[0] == "embedded":
        assert statuses_of(behind, "198.51.100.9", "::ffff:198.51.100.9", "::ffff:c633:6409") == [200, 200, 429]
