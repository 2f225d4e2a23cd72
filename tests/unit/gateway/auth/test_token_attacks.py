"""What has been tried against verifiers of tokens, and what RFC 8725 warns of. Nothing of it opens a route."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from issuing_tokens import URL, Issuer, b64, provider, written

from skerry.gateway.auth import Verifier
from skerry.service.problem import Problem
from skerry.signals import Signal, TokenRefused
from skerry.testing import VirtualClock

Attack = Callable[[Issuer, VirtualClock], str]


def good(issuer: Issuer, clock: VirtualClock, **change: Any) -> dict[str, Any]:
    return {"iss": URL, "aud": "shop", "sub": "mallory", "exp": clock.now() + 600, **change}


def unsigned(issuer: Issuer, clock: VirtualClock, algorithm: str, signature: bytes = b"") -> str:
    return f"{written({'alg': algorithm, 'kid': 'rsa'})}.{written(good(issuer, clock))}.{b64(signature)}"


def by_public_key(text_of_key: Callable[[Issuer], bytes]) -> Attack:
    """The public key's text as if it were a shared secret."""

    def attack(issuer: Issuer, clock: VirtualClock) -> str:
        text = f"{written({'alg': 'HS256', 'kid': 'rsa'})}.{written(good(issuer, clock))}"
        return f"{text}.{b64(hmac.digest(text_of_key(issuer), text.encode(), hashlib.sha256))}"

    return attack


def pem(issuer: Issuer) -> bytes:
    return issuer.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_header(own: bool = False, **more: Any) -> Attack:
    """Signed by a key of the attacker's (`own`) or well signed, with more in the header."""

    def attack(issuer: Issuer, clock: VirtualClock) -> str:
        header = {"alg": "ES256", "kid": "ec", **more}
        key = ec.generate_private_key(ec.SECP256R1()) if own else issuer.ec
        return issuer.sign(f"{written(header)}.{written(good(issuer, clock))}", "ES256", key)

    return attack


def own_key_embedded(issuer: Issuer, clock: VirtualClock) -> str:
    from jwt.algorithms import RSAAlgorithm

    key = rsa.generate_private_key(65537, 2048)
    jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    header = {"alg": "RS256", "kid": "rsa", "jwk": jwk, "x5c": [b64(b"certificate")]}
    return issuer.sign(f"{written(header)}.{written(good(issuer, clock))}", "RS256", key)


def changed(**change: Any) -> Attack:
    return lambda issuer, clock: issuer.token(clock, **change)


def claims_text(text: str) -> Attack:
    """Claims whose JSON is written by hand; `NOW` becomes a good end."""

    def attack(issuer: Issuer, clock: VirtualClock) -> str:
        return issuer.token(clock, claims=text.replace("NOW", str(int(clock.now()) + 600)))

    return attack


def edited(edit: Callable[[str], str]) -> Attack:
    return lambda issuer, clock: edit(issuer.token(clock, algorithm="ES256"))


def swapped(issuer: Issuer, clock: VirtualClock) -> str:
    """Another's claims under a good signature."""
    head, _, signature = issuer.token(clock).split(".")
    return f"{head}.{written(good(issuer, clock, sub='root'))}.{signature}"


def der_signature(issuer: Issuer, clock: VirtualClock) -> str:
    from cryptography.hazmat.primitives import hashes

    text = f"{written({'alg': 'ES256', 'kid': 'ec'})}.{written(good(issuer, clock))}"
    return f"{text}.{b64(issuer.ec.sign(text.encode(), ec.ECDSA(hashes.SHA256())))}"


N = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)
BASE = '{"iss": "https://id.example", "aud": "shop", "sub": "ada", '
ATTACKS: dict[str, tuple[Attack, str]] = {
    "none": (lambda i, c: unsigned(i, c, "none", b"x"), "algorithm"),
    "none without a signature": (lambda i, c: unsigned(i, c, "none"), "form"),
    "nOnE": (lambda i, c: unsigned(i, c, "nOnE", b"x"), "algorithm"),
    "empty algorithm": (lambda i, c: unsigned(i, c, "", b"x"), "algorithm"),
    "no algorithm": (lambda i, c: i.token(c, header={"kid": "rsa"}), "algorithm"),
    "algorithms in a list": (lambda i, c: i.token(c, header={"alg": ["RS256"], "kid": "rsa"}), "algorithm"),
    "lower case algorithm": (lambda i, c: i.token(c, header={"alg": "rs256", "kid": "rsa"}), "algorithm"),
    "no signature": (lambda i, c: unsigned(i, c, "RS256"), "form"),
    "public key as secret, PEM": (by_public_key(pem), "algorithm"),
    "public key as secret, its numbers": (by_public_key(lambda i: i.public["rsa"]["n"].encode()), "algorithm"),
    "empty secret": (by_public_key(lambda i: b""), "algorithm"),
    "elliptic curve's algorithm, RSA's key": (with_header(kid="rsa"), "unknown_key"),
    "algorithm that is not allowed": (lambda i, c: i.token(c, algorithm="PS256"), "algorithm"),
    "key id of nobody": (with_header(own=True, kid="mine"), "unknown_key"),
    "key id as a path": (with_header(own=True, kid="../../../../dev/null"), "unknown_key"),
    "key id as SQL": (with_header(own=True, kid="x' UNION SELECT 'secret"), "unknown_key"),
    "key id as a command": (with_header(own=True, kid="ec|sleep 10"), "unknown_key"),
    "key id with a NUL": (with_header(own=True, kid="ec\0"), "unknown_key"),
    "key id as a URL": (with_header(own=True, kid="https://evil.example/jwks.json"), "unknown_key"),
    "key id as a number": (with_header(kid=0), "key_id"),
    "key id as a list": (with_header(kid=["ec"]), "key_id"),
    "endless key id": (with_header(kid="k" * 600), "key_id"),
    "jku": (with_header(own=True, jku="https://evil.example/jwks.json"), "signature"),
    "x5u": (with_header(own=True, x5u="https://evil.example/cert.pem"), "signature"),
    "own key embedded": (own_key_embedded, "signature"),
    "crit": (with_header(crit=["exp"]), "crit"),
    "empty crit": (with_header(crit=[]), "crit"),
    "unencoded payload": (with_header(b64=False), "crit"),
    "token for a logout": (with_header(typ="logout+jwt"), "type"),
    "token of a security event": (with_header(typ="secevent+jwt"), "type"),
    "type that is no text": (with_header(typ=1), "type"),
    "psychic signature": (edited(lambda t: t.rpartition(".")[0] + "." + b64(bytes(64))), "signature"),
    "r=s=n": (edited(lambda t: t.rpartition(".")[0] + "." + b64(N.to_bytes(32, "big") * 2)), "signature"),
    "r=1, s=0": (edited(lambda t: t.rpartition(".")[0] + "." + b64(bytes(31) + b"\1" + bytes(32))), "signature"),
    "signature in DER": (der_signature, "signature"),
    "signature cut": (edited(lambda t: t[:-6]), "signature"),
    "signature doubled": (edited(lambda t: t + t.rpartition(".")[2]), "signature"),
    "claims changed": (swapped, "signature"),
    "another issuer": (changed(iss="https://evil.example"), "issuer"),
    "issuer with a slash": (changed(iss=URL + "/"), "issuer"),
    "issuer in upper case": (changed(iss=URL.upper()), "issuer"),
    "issuers in a list": (changed(iss=[URL]), "issuer"),
    "no issuer": (changed(iss=None), "issuer"),
    "another audience": (changed(aud="bank"), "audience"),
    "audience that begins alike": (changed(aud="shop.evil.example"), "audience"),
    "no audience": (changed(aud=None), "audience"),
    "empty audiences": (changed(aud=[]), "audience"),
    "audience in an object": (changed(aud={"shop": 1}), "audience"),
    "audience in a list in a list": (changed(aud=[["shop"]]), "audience"),
    "audience among odd ones": (changed(aud=["shop", 1]), "audience"),
    "no exp": (changed(exp=None), "exp_absent"),
    "exp null": (claims_text(BASE + '"exp": null}'), "exp_odd"),
    "exp as text": (changed(exp="9999999999"), "exp_odd"),
    "exp true": (changed(exp=True), "exp_odd"),
    "exp in a list": (changed(exp=[9999999999]), "exp_odd"),
    "exp NaN": (claims_text(BASE + '"exp": NaN}'), "json"),
    "exp Infinity": (claims_text(BASE + '"exp": Infinity}'), "json"),
    "exp 1e300": (claims_text(BASE + '"exp": 1e300}'), "exp_odd"),
    "exp 1e999": (claims_text(BASE + '"exp": 1e999}'), "exp_odd"),
    "exp of many digits": (claims_text(BASE + f'"exp": {"9" * 5000}}}'), "json"),
    "exp negative": (changed(exp=-1), "exp_odd"),
    "exp in milliseconds": (claims_text(BASE + '"exp": NOW000}'), "exp_odd"),
    "exp twice": (claims_text(BASE + '"exp": 1, "exp": NOW}'), "json"),
    "exp twice, once escaped": (claims_text(BASE + '"exp": 1, "\\u0065xp": NOW}'), "json"),
    "expired": (lambda i, c: i.token(c, exp=c.now() - 31), "expired"),
    "not yet": (lambda i, c: i.token(c, nbf=c.now() + 31), "not_yet"),
    "nbf as text": (changed(nbf="0"), "nbf_odd"),
    "issued tomorrow": (lambda i, c: i.token(c, iat=c.now() + 86_400), "issued_later"),
    "iat as text": (changed(iat="now"), "iat_odd"),
    "subject as a number": (changed(sub=1), "subject"),
    "subject with a line break": (changed(sub="ada\nroot"), "subject"),
    "subject with half a character": (changed(sub="ada\ud800"), "subject"),
    "scopes as a number": (changed(scope=1), "scope_odd"),
    "claims in a list": (lambda i, c: i.token(c, claims=[good(i, c)]), "json"),
    "claims that are text": (lambda i, c: i.token(c, claims='"claims"'), "json"),
    "claims too deep": (claims_text(BASE + f'"exp": NOW, "a": {"[" * 17}{"]" * 17}}}'), "json"),
    "claims very deep": (claims_text(BASE + f'"exp": NOW, "a": {"[" * 2800}}}'), "json"),
    "header twice": (lambda i, c: i.token(c, header='{"alg": "none", "alg": "RS256", "kid": "rsa"}'), "json"),
    "header after more": (lambda i, c: i.token(c, header='{"alg": "RS256", "kid": "rsa"} {}'), "json"),
    "header in UTF-16": (lambda i, c: i.sign(f"{b64('{}'.encode('utf-16'))}.e30", "RS256"), "json"),
    "padding": (edited(lambda t: t + "=="), "base64url"),
    "whitespace inside": (edited(lambda t: t[:10] + "\n" + t[10:]), "base64url"),
    "whitespace between": (edited(lambda t: t.replace(".", ". ", 1)), "base64url"),
    "the other alphabet": (
        edited(lambda t: t.rpartition(".")[0] + "." + base64.b64encode(b"\xff\xef" * 32).decode()[:86]),
        "base64url",
    ),
    "bits that stand for nothing": (edited(lambda t: t[:-1] + chr(ord(t[-1]) + 1)), "base64url"),
    "no text but bytes": (edited(lambda t: t + "\xe9"), "form"),
    "four pieces": (edited(lambda t: t + ".e30"), "form"),
    "five pieces, as when encrypted": (edited(lambda t: t + ".e30.e30"), "form"),
    "two pieces": (edited(lambda t: t.rpartition(".")[0]), "form"),
    "nothing": (edited(lambda t: ""), "form"),
    "dots": (edited(lambda t: ".."), "form"),
    "too large": (changed(padding="x" * 8192), "size"),
    "JSON form of a signature": (edited(lambda t: json.dumps({"payload": t.split(".")[1], "signatures": []})), "form"),
}


@pytest.fixture
def verifier(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> Verifier:
    return Verifier(provider(tmp_path, issuer.jwks(), algorithms=("RS256", "ES256")), clock=clock)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_opens_a_route(
    name: str, issuer: Issuer, clock: VirtualClock, verifier: Verifier, told: list[Signal]
) -> None:
    """Each is a 401 that says the same for all of them, and the log is told the check that it failed."""
    attack, check = ATTACKS[name]
    with pytest.raises(Problem) as refused:
        verifier.verify(attack(issuer, clock))
    problem = refused.value
    assert (problem.status, problem.code, problem.detail) == (401, "invalid_token", "The access token is not valid.")
    assert problem.headers == [(b"www-authenticate", b'Bearer realm="gateway", error="invalid_token"')]
    assert told == [TokenRefused(provider="id", check=check)]


def test_the_token_that_the_attacks_change_is_a_good_one(
    issuer: Issuer, clock: VirtualClock, verifier: Verifier
) -> None:
    """Otherwise their refusal would prove nothing."""
    for algorithm in ("RS256", "ES256"):
        assert verifier.verify(issuer.token(clock, algorithm=algorithm)).subject == "ada"
    assert verifier.verify(with_header()(issuer, clock)).subject == "mallory"
    assert verifier.verify(claims_text(BASE + '"exp": NOW}')(issuer, clock)).subject == "ada"
    assert verifier.verify(with_header(jku="https://id.example/keys")(issuer, clock)).subject == "mallory"


@given(place=st.integers(0), bit=st.integers(0, 6))
def test_no_flipped_bit_is_overlooked(place: int, bit: int) -> None:
    """Whichever bit of a token is another, it is refused."""
    issuer, clock, checked = _for_flips()
    token = issuer.token(clock, algorithm="ES256")
    at = place % len(token)
    with pytest.raises(Problem):
        checked.verify(token[:at] + chr(ord(token[at]) ^ 1 << bit) + token[at + 1 :])


@given(
    st.text(st.characters(max_codepoint=0x2000), max_size=200)
    | st.from_regex(r"[A-Za-z0-9_-]{0,80}(\.[A-Za-z0-9_-]{0,80}){2}")
)
def test_whatever_is_sent_as_a_token_is_refused_in_order(text: str) -> None:
    """No text makes the verifier fail in another way than by a 401."""
    _, _, checked = _for_flips()
    with pytest.raises(Problem) as refused:
        checked.verify(text)
    assert refused.value.status == 401


def test_cut_anywhere_it_is_refused(issuer: Issuer, clock: VirtualClock, verifier: Verifier) -> None:
    """No beginning of a token is a token."""
    token = issuer.token(clock, algorithm="ES256")
    for length in range(len(token)):
        with pytest.raises(Problem):
            verifier.verify(token[:length])


def _for_flips(made: list[tuple[Issuer, VirtualClock, Verifier]] = []) -> tuple[Issuer, VirtualClock, Verifier]:  # noqa: B006
    if not made:
        import tempfile

        issuer, clock = Issuer(), VirtualClock()
        folder = Path(tempfile.mkdtemp())
        made.append((issuer, clock, Verifier(provider(folder, issuer.jwks()), clock=clock)))
    return made[0]
