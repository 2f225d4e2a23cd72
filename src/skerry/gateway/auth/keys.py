"""Sets of keys (RFC 7517), and which key a token may be verified with.

A key is for its own type's algorithms, of those that the provider allows, and for no other. So a public key is never taken for
a shared secret, and `none` is no algorithm at all. The mathematics is PyJWT's, which has it from cryptography.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from skerry.errors import ConfigurationError
from skerry.gateway import strict_json

MAX_SET = 256 * 1024
"""Bytes."""
MAX_KEYS = 64
MAX_TRIED = 4
"""Keys that a token without a key id is tried with."""
RSA_BITS = (2048, 8192)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FITS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("oct", ""): ("HS256", "HS384", "HS512"),
}
HMAC = frozenset(_FITS["oct", ""])
ALGORITHMS = frozenset(name for names in _FITS.values() for name in names)
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key for one algorithm. `verify` takes what was signed and its signature."""

    key_id: str | None
    algorithm: str
    verify: Callable[[bytes, bytes], bool]


class KeySet:
    """The keys of a provider that can be used, and of the others why they cannot."""

    __slots__ = ("_by_id", "count", "unusable")

    def __init__(self, keys: Iterable[Key], *, count: int = 0, unusable: Iterable[str] = ()) -> None:
        self._by_id: dict[tuple[str, str | None], tuple[Key, ...]] = {}
        for key in keys:
            place = (key.algorithm, key.key_id)
            self._by_id[place] = (*self._by_id.get(place, ()), key)
        self.count: int = count
        self.unusable: tuple[str, ...] = tuple(unusable)

    def fitting(self, algorithm: str, key_id: str | None) -> tuple[Key, ...]:
        """The keys to try, in order, a few at most. A key id is a name in this set and leads nowhere else.

        A key without an id may be anybody's; a token without one may be by any key of its algorithm, as long as these are few.
        """
        if key_id is not None:
            named = self._by_id.get((algorithm, key_id), ())
            return (*named, *self._by_id.get((algorithm, None), ()))[:MAX_TRIED]
        found = [key for (name, _), keys in self._by_id.items() if name == algorithm for key in keys]
        return tuple(found) if len(found) <= MAX_TRIED else ()


def read(document: bytes, *, algorithms: frozenset[str], secret: bool) -> KeySet:
    """The keys of a set for these algorithms. Raises `ConfigurationError` for what is no set, or holds no key that can be used.

    `secret` says whether it may hold shared secrets, and then nothing else. Keys for other uses are passed over; no message
    holds anything of a key but its id.
    """
    try:
        found = strict_json.loads(document, unique=True) if len(document) <= MAX_SET else None
    except ValueError as error:
        raise ConfigurationError(f"the set of keys is no JSON: {error}") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_KEYS:
        raise ConfigurationError(
            f"this is no set of keys: it is an object with 1 to {MAX_KEYS} `keys`, at most {MAX_SET} bytes"
        )
    keys: list[Key] = []
    unusable: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            keys += _keys(entry, algorithms, secret=secret)
        except ValueError as error:
            told = entry.get("kid") if isinstance(entry, dict) else None
            unusable.append(f"key {number}{f' ({told[:64]})' if isinstance(told, str) else ''}: {error}")
    if not keys:
        raise ConfigurationError(f"no key of the set can be used: {'; '.join(unusable)}")
    return KeySet(keys, count=len(entries) - len(unusable), unusable=unusable)


def _keys(entry: Any, algorithms: frozenset[str], *, secret: bool) -> list[Key]:
    """One for each algorithm that it is for. Raises `ValueError` saying why it cannot be used."""
    told = entry if isinstance(entry, dict) else {}
    kind, curve = told.get("kty"), told.get("crv", "")
    fitting = _FITS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str) else None
    if fitting is None:
        raise ValueError("its kty and crv are none of those known")
    if (kind == "oct") is not secret:
        raise ValueError("a secret does not stand beside public keys, nor a public key beside secrets")
    if kind != "oct" and _PRIVATE & entry.keys():
        raise ValueError("it is a private key, which has no place here: replace it, for it may have been read")
    if entry.get("use", "sig") != "sig" or "verify" not in _operations(entry):
        raise ValueError("it is not for verifying signatures")
    key_id = entry.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("its kid is no string")
    wanted = [name for name in fitting if name in algorithms and entry.get("alg", name) == name]
    if not wanted:
        raise ValueError("its algorithm is not among those allowed")
    return [Key(key_id, name, _verify(entry, name)) for name in wanted]


def _operations(entry: dict[str, Any]) -> list[Any]:
    told = entry.get("key_ops", ["verify"])
    return told if isinstance(told, list) else []


def _verify(entry: dict[str, Any], algorithm: str) -> Callable[[bytes, bytes], bool]:
    try:
        made = jwt.PyJWK(entry, algorithm)
    except Exception:  # the library's words would show the key, and what it raises for odd numbers is not one class
        raise ValueError("its numbers make no key") from None
    key, by = made.key, made.Algorithm
    bits = getattr(key, "key_size", None)
    if algorithm in _RSA and not (isinstance(bits, int) and RSA_BITS[0] <= bits <= RSA_BITS[1]):
        raise ValueError(f"an RSA key has {RSA_BITS[0]} to {RSA_BITS[1]} bits")
    if algorithm in HMAC and len(key) * 8 < int(algorithm[2:]):
        raise ValueError(f"a secret for {algorithm} has at least {algorithm[2:]} bits (RFC 7518, section 3.2)")

    def verify(signed: bytes, signature: bytes) -> bool:
        return bool(by.verify(signed, key, signature))

    return verify
