from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from issuing_tokens import Issuer, b64, provider
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from skerry.errors import ConfigurationError
from skerry.gateway.auth import Verifier, keys
from skerry.gateway.model import JwtProvider
from skerry.service.problem import Problem
from skerry.testing import VirtualClock

PUBLIC = frozenset({"RS256", "PS256", "ES256", "ES384", "EdDSA"})


def read(document: bytes, algorithms: frozenset[str] = PUBLIC) -> keys.KeySet:
    return keys.read(document, algorithms=algorithms, secret=False)


def made(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


@pytest.mark.parametrize(
    ("name", "algorithms"),
    [("rsa", {"RS256", "PS256"}), ("ec", {"ES256"}), ("ed", {"EdDSA"})],
)
def test_a_key_is_for_its_own_types_algorithms(issuer: Issuer, name: str, algorithms: set[str]) -> None:
    """Of those that the provider allows, and no others."""
    found = read(issuer.jwks(name))
    assert {each for each in PUBLIC if found.fitting(each, name)} == algorithms


def test_a_key_that_names_its_algorithm_is_for_that_one(issuer: Issuer) -> None:
    """`alg` of a key narrows it further."""
    found = read(issuer.jwks("rsa", alg="PS256"))
    assert found.fitting("PS256", "rsa")
    assert not found.fitting("RS256", "rsa")


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "RSA-OAEP"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"kty": None},
        {"kty": ["RSA"]},
        {"crv": "P-256"},
        {"kid": 7},
        {"n": "AQ"},
        {"n": 3},
        {"e": "AA"},
        {"n": None},
        {"d": "AQ"},
    ],
)
def test_a_key_for_something_else_is_passed_over_and_told(issuer: Issuer, change: dict[str, Any]) -> None:
    """It does not spoil the others; alone it is an error. Neither says anything of the key but its id."""
    other = json.loads(issuer.jwks("ec"))["keys"][0]
    odd = json.loads(issuer.jwks("rsa", **change))["keys"][0]
    found = read(made(odd, other))
    assert (found.count, len(found.unusable)) == (1, 1)
    assert issuer.public["rsa"]["n"] not in found.unusable[0]
    assert found.unusable[0].startswith("key 1")
    with pytest.raises(ConfigurationError, match="no key of the set can be used: key 1") as refused:
        read(made(odd))
    assert issuer.public["rsa"]["n"] not in str(refused.value)


def test_a_weak_key_is_none() -> None:
    """RSA keys below 2048 bits are refused, however well they sign."""
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(ConfigurationError, match="2048 to 8192 bits"):
        read(made({**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "weak"}))


def test_a_point_that_is_not_on_its_curve_is_no_key(issuer: Issuer) -> None:
    """Nor one of another curve under this one's name."""
    other = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    for entry in ({**issuer.public["ec"], "y": issuer.public["ec"]["x"]}, {**other, "crv": "P-256"}):
        with pytest.raises(ConfigurationError, match="its numbers make no key"):
            read(made(entry))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [], "keys": []}',
        b"\xff",
        b"<html>",
        b'{"keys": [' + b",".join([b"{}"] * 65) + b"]}",
        b'{"keys": [' + b" " * keys.MAX_SET + b"]}",
        b"[" * 200_000,
    ],
)
def test_what_is_no_set_of_keys_is_refused(document: bytes) -> None:
    """Too large, too many, twice named or of another form: it is an error, and not an empty set."""
    with pytest.raises(ConfigurationError):
        read(document)


def test_a_key_without_an_id_may_be_anybodys(issuer: Issuer) -> None:
    """It is tried for every token of its algorithm, as Envoy does."""
    found = read(issuer.jwks("ec", kid=None))
    assert found.fitting("ES256", "any") == found.fitting("ES256", None) != ()


def test_a_token_without_a_key_id_is_tried_with_a_few_keys_only(issuer: Issuer) -> None:
    """With more than four keys of its algorithm it is refused: a stranger does not choose how often we calculate."""
    entries = [{**issuer.public["ec"], "kid": f"k{number}"} for number in range(5)]
    assert len(read(made(*entries[:4])).fitting("ES256", None)) == 4
    assert read(made(*entries)).fitting("ES256", None) == ()


def test_two_keys_of_one_id_are_told_apart_by_type(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """RFC 7517 allows it: a token is verified with the one that fits its algorithm."""
    verifier = Verifier(provider(tmp_path, issuer.jwks(kid="same")), clock=clock)
    for algorithm in ("RS256", "ES256", "EdDSA"):
        token = issuer.token(clock, algorithm=algorithm, header={"alg": algorithm, "kid": "same"})
        assert verifier.verify(token).subject == "ada"


SECRET = b64(bytes(range(32)))


def secret_provider(folder: Path, **change: Any) -> JwtProvider:
    return provider(folder, made({"kty": "oct", "k": SECRET, "kid": "s", **change}), algorithms=("HS256",))


def test_a_shared_secret_works_where_nothing_else_does(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """A provider of secrets takes HMAC, and no signature."""
    verifier = Verifier(secret_provider(tmp_path), clock=clock)
    text = issuer.token(clock, header={"alg": "HS256", "kid": "s"}).rpartition(".")[0]
    assert verifier.verify(issuer.sign(text, "HS256", bytes(range(32)))).subject == "ada"
    for other in (issuer.sign(text, "HS256", bytes(32)), issuer.token(clock)):
        with pytest.raises(Problem):
            verifier.verify(other)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    """HS256 wants 256 bits."""
    with pytest.raises(ConfigurationError, match="at least 256 bits"):
        Verifier(secret_provider(tmp_path, k=b64(b"secret")))


@pytest.mark.parametrize(
    "change",
    [
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("RS256", "ES256K")},
        {"algorithms": ("RS256", "HS256")},
        {"algorithms": ("HS256",), "jwks_file": None, "jwks_url": "https://id.example/jwks.json"},
        {"issuer": ""},
        {"audiences": ()},
        {"audiences": ("",)},
        {"name": ""},
        {"name": "a\nb"},
        {"jwks_url": "https://id.example/jwks.json"},
        {"jwks_file": None, "issuer": "http://id.example"},
        {"jwks_file": "/does/not/exist"},
        {"leeway": 3600.0},
        {"cache_for": 0.0},
        {"claims": (("sub", "X User"),)},
        {"claims": (("sub", "x_user"),)},
        {"claims": (("sub", "Content-Length"),)},
        {"claims": (("sub", "Authorization"),)},
        {"claims": (("sub", "Skerry-Priority"),)},
        {"jwks_file": None, "jwks_url": "http://id.example/jwks.json"},
        {"jwks_file": None, "jwks_url": "file:///etc/passwd"},
        {"jwks_file": None, "jwks_url": "https://user:pass@id.example/jwks.json"},
    ],
)
def test_a_provider_that_nobody_should_trust_is_refused(issuer: Issuer, tmp_path: Path, change: dict[str, Any]) -> None:
    """What would believe too much, or could not work, is an error when the gateway starts."""
    with pytest.raises(ConfigurationError) as refused:
        Verifier(provider(tmp_path, issuer.jwks(), **change))
    assert "user:pass" not in str(refused.value)
