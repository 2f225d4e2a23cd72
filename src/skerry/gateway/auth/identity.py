"""What a verified token says about its bearer, and whether its claims hold here and now (RFC 7519, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

from skerry.gateway.auth.refusal import Wrong
from skerry.gateway.model import JwtProvider

LATEST = 253_402_300_799.0
"""The end of the year 9999 in seconds since 1970. A time beyond is a mistake, or an attempt at a token that never ends."""
_MAX_SUBJECT_KEY = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token names. `headers` are the claims that the provider's `claims` send on; `until` is when it ends, in seconds
    since 1970, infinite for a token without `exp`. `key` tells one bearer from all others, for counting; empty without a subject.
    """

    subject: str
    scopes: frozenset[str]
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    provider: str
    key: str
    until: float


def judged(claims: Mapping[str, Any], provider: JwtProvider, now: float) -> Identity:
    """The identity that these claims give. Raises `Wrong` when they do not hold at `now`, in seconds since 1970."""
    if claims.get("iss") != provider.issuer:
        raise Wrong("issuer")
    if not _audiences(claims.get("aud")) & set(provider.audiences):
        raise Wrong("audience")
    until = _until(claims, provider, now)
    subject = claims.get("sub", "")
    if not isinstance(subject, str) or not subject.isprintable():  # it stands in logs, which it must not break
        raise Wrong("subject")
    scopes = _scopes(claims)
    headers = tuple(_headers(claims, provider))
    return Identity(subject, scopes, headers, provider.name, _key(provider.name, subject), until)


def _until(claims: Mapping[str, Any], provider: JwtProvider, now: float) -> float:
    ends, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is None and provider.require_exp:
        raise Wrong("exp_absent")
    until = math.inf if ends is None else ends + provider.leeway
    if now >= until:
        raise Wrong("expired")
    if begins is not None and now < begins - provider.leeway:
        raise Wrong("not_yet")
    if issued is not None and now < issued - provider.leeway:
        raise Wrong("issued_later")
    return until


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if type(value) not in {int, float} or not 0 <= value <= LATEST:  # type: ignore[operator]  # True is an int, and no time
        raise Wrong(f"{name}_odd")
    return float(value)  # type: ignore[arg-type]


def _audiences(value: object) -> set[str]:
    """RFC 7519 allows one string or a list of them; a list with anything else in it is not believed at all."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise Wrong("audience")
    return set(values)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name, "")
        values = value.split(" ") if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise Wrong("scope_odd")
        found.update(values)
    return _one(frozenset(found - {""}))


@lru_cache(maxsize=1024)
def _one(scopes: frozenset[str]) -> frozenset[str]:
    """The same object for the same scopes: thousands of bearers have them."""
    return scopes


def _headers(claims: Mapping[str, Any], provider: JwtProvider) -> list[tuple[bytes, bytes]]:
    found = ((header, _text(claims[claim])) for claim, header in provider.claims if claim in claims)
    return [(header.lower().encode("ascii"), value) for header, value in found]


def _text(value: object) -> bytes:
    """A claim as the value of a header: a string, a number, true or false, or a list of strings with commas between them.

    What could be read in two ways on its way there is refused: control characters and what is not Latin, space around it,
    and a comma inside a list.
    """
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, list) and all(isinstance(each, str) and "," not in each for each in value):
        value = ",".join(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        value = repr(value)
    if (
        not isinstance(value, str)
        or not all(" " <= c <= "~" or "\xa0" <= c <= "\xff" for c in value)
        or value != value.strip()
    ):
        raise Wrong("claim")
    return value.encode("latin-1")


def _key(provider: str, subject: str) -> str:
    """Short, whatever the subject: it is kept for long. The newline is in no address, so no bearer passes for one."""
    if not subject:
        return ""
    if len(subject) > _MAX_SUBJECT_KEY:
        subject = sha256(subject.encode()).hexdigest() + "\n"
    return f"{provider}\n{subject}"
