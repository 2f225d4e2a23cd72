"""Tokens and identities on a real Envoy: the same ones open a route as with the embedded engine, and no attack does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from envoy_stage import Answer, Peer, Stage, on_envoy, route
from issuing_tokens import URL, Issuer, b64, provider, written

from skerry.clock import SYSTEM
from skerry.gateway.model import Auth, Backend, Forward, JwtProvider, RateSpec, Respond

TO_A = Forward((Backend("a"),))
AUTH = Auth(("id",))


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def claims(**change: Any) -> dict[str, Any]:
    return {"iss": URL, "aud": "shop", "sub": "mallory", "exp": int(SYSTEM.now()) + 600, **change}


def good(issuer: Issuer, algorithm: str = "RS256", **change: Any) -> str:
    return issuer.token(None, algorithm=algorithm, claims=claims(sub="ada", scope="read write", **change))  # type: ignore[arg-type]


def unsigned(algorithm: str) -> str:
    return f"{written({'alg': algorithm, 'kid': 'rsa'})}.{written(claims())}."


def by_public_key(issuer: Issuer) -> str:
    pem = issuer.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{written({'alg': 'HS256', 'kid': 'rsa'})}.{written(claims())}"
    return f"{text}.{b64(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def with_header(issuer: Issuer, *, own: bool = False, **more: Any) -> str:
    key = ec.generate_private_key(ec.SECP256R1()) if own else issuer.ec
    return issuer.sign(f"{written({'alg': 'ES256', 'kid': 'ec', **more})}.{written(claims())}", "ES256", key)


ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "no algorithm": lambda _: unsigned("none"),
    "no algorithm, in other letters": lambda _: unsigned("nOnE"),
    "no signature": lambda _: unsigned("RS256"),
    "the public key as a shared secret": by_public_key,
    "an algorithm that is not allowed": lambda i: good(i, "PS256"),
    "a key of one's own": lambda i: with_header(i, own=True),
    "a key id of nobody": lambda i: with_header(i, own=True, kid="mine"),
    "a key id as a path": lambda i: with_header(i, own=True, kid="../../../../dev/null"),
    "another key's id": lambda i: with_header(i, kid="rsa"),
    "jku": lambda i: with_header(i, own=True, jku="https://evil.example/jwks.json"),
    "x5u": lambda i: with_header(i, own=True, x5u="https://evil.example/cert.pem"),
    "crit": lambda i: with_header(i, crit=["exp"]),
    "an unencoded payload": lambda i: with_header(i, b64=False),
    "a token for a logout": lambda i: with_header(i, typ="logout+jwt"),
    "no end": lambda i: i.token(None, claims={n: v for n, v in claims().items() if n != "exp"}),  # type: ignore[arg-type]
    "an end as text": lambda i: good(i, exp="9999999999"),
    "ended": lambda i: good(i, exp=int(SYSTEM.now()) - 60),
    "not yet": lambda i: good(i, nbf=int(SYSTEM.now()) + 60),
    "another audience": lambda i: good(i, aud="bank"),
    "no audience": lambda i: good(i, aud=[]),
    "another issuer": lambda i: good(i, iss="https://evil.example"),
    "claims changed": lambda i: good(i).replace(good(i).split(".")[1], written(claims(scope="admin"))),
    "no token at all": lambda _: "x",
}


def test_no_attack_opens_a_route(issuer: Issuer, tmp_path: Path) -> None:
    """Each is refused, on routes that need a token and on those that only take one; nothing reaches the service."""

    async def play(stage: Stage) -> None:
        for name, attack in ATTACKS.items():
            for path in ("/", "/maybe"):
                answer = await stage.ask(path, authorization=f"Bearer {attack(issuer)}")
                assert answer.status in {401, 403}, name
        assert (await stage.ask(f"/?access_token={good(issuer)}")).status == 401
        assert stage.peers["a"].seen == []

    on_envoy(
        route("/", TO_A, auth=AUTH),
        route("/maybe", TO_A, auth=Auth(("id",), required=False)),
        play=play,
        providers=(provider(tmp_path, issuer.jwks()),),
    )


def test_a_good_token_opens_and_its_claims_go_on(issuer: Issuer, tmp_path: Path) -> None:
    """Every allowed algorithm opens; the service is told the verified subject, never one that a client wrote."""

    async def play(stage: Stage) -> None:
        for algorithm in ("RS256", "ES256", "EdDSA"):
            answer = await stage.ask("/", authorization=f"Bearer {good(issuer, algorithm)}", x_subject="root")
            assert answer.status == 200
            assert stage.peers["a"].seen[-1].headers["x-subject"] == "ada"
        assert (await stage.ask("/maybe", x_subject="root")).status == 200
        assert "x-subject" not in stage.peers["a"].seen[-1].headers
        assert (await stage.ask("/")).status == 401
        assert (await stage.ask("/fixed")).status == 401
        assert (await stage.ask("/fixed", authorization=f"Bearer {good(issuer)}")).status == 200

    on_envoy(
        route("/", TO_A, auth=AUTH),
        route("/maybe", TO_A, auth=Auth(("id",), required=False)),
        route("/fixed", Respond(200, "x"), auth=AUTH),
        play=play,
        providers=(provider(tmp_path, issuer.jwks(), claims=(("sub", "X-Subject"),)),),
    )


def test_scopes_have_all_to_be_there(issuer: Issuer, tmp_path: Path) -> None:
    """They are whole words of `scope`, or of `scp` as a text or a list."""

    async def play(stage: Stage) -> None:
        async def status(path: str, **change: Any) -> int:
            token = issuer.token(None, claims=claims(**change))  # type: ignore[arg-type]
            return (await stage.ask(path, authorization=f"Bearer {token}")).status

        assert await status("/", scope="write read") == 200
        assert await status("/", scp=["read", "write"]) == 200
        assert await status("/", scp="read write") == 200
        assert await status("/", scope="write") == 403
        assert await status("/", scope="reader write") == 403
        assert await status("/") == 403
        assert await status("/maybe", scope="write") == 403
        assert (await stage.ask("/maybe")).status == 200

    on_envoy(
        route("/", TO_A, auth=Auth(("id",), scopes=("read", "write"))),
        route("/maybe", TO_A, auth=Auth(("id",), required=False, scopes=("read",))),
        play=play,
        providers=(provider(tmp_path, issuer.jwks()),),
    )


def test_keys_of_a_url_are_fetched_from_there(issuer: Issuer) -> None:
    """Envoy asks the provider's own address, and a token that its keys have signed opens the route."""

    async def play(stage: Stage) -> None:
        async with asyncio.timeout(20):
            while (await stage.ask("/", authorization=f"Bearer {good(issuer)}")).status != 200:
                pass
        assert stage.peers["a"].seen[-1].target == "/"

    async def main() -> None:
        keys = Peer("keys")
        keys.behaviour = lambda _: Answer(headers={"content-type": "application/json"}, body=issuer.jwks())
        await keys.listen()
        about = JwtProvider("id", URL, ("shop",), jwks_url=f"{keys.url}/jwks.json")
        await asyncio.to_thread(on_envoy_in_thread, about)
        assert [seen.target for seen in keys.seen][:1] == ["/jwks.json"]
        await keys.close()

    def on_envoy_in_thread(about: JwtProvider) -> None:
        on_envoy(route("/", TO_A, auth=AUTH), play=play, providers=(about,))

    asyncio.run(main())


def test_a_rate_by_identity_is_not_evaded(issuer: Issuer, tmp_path: Path) -> None:
    """Each verified subject has its own; who brings none, or something that is no token, shares what the address has."""

    async def play(stage: Stage) -> None:
        async def statuses(*headers: dict[str, str]) -> list[int]:
            return [(await stage.ask("/", **each)).status for each in headers]

        ada = {"authorization": f"Bearer {good(issuer)}"}
        bob = {"authorization": f"Bearer {issuer.token(None, claims=claims(sub='bob'))}"}  # type: ignore[arg-type]
        assert await statuses(ada, ada, ada) == [200, 200, 429]
        assert await statuses(bob, bob, bob) == [200, 200, 429]
        assert await statuses({}, {"authorization": "Basic 1"}, {"authorization": "Basic 2"}, {}) == [
            200,
            200,
            429,
            429,
        ]

    maybe = Auth(("id",), required=False)
    on_envoy(
        route("/", TO_A, auth=maybe, rate=RateSpec(2, 3600.0, key="identity")),
        play=play,
        providers=(provider(tmp_path, issuer.jwks()),),
    )
