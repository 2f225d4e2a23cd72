"""A token as it is written: three pieces of base64url, the first two of them JSON objects (RFC 7515, section 7.1).

There is one way to write each piece, so that no second text is the same token, and nothing is believed here yet.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from skerry.gateway import strict_json
from skerry.gateway.auth.refusal import Wrong

MAX_TOKEN = 8 * 1024
MAX_DEPTH = 16
MAX_KEY_ID = 512
_TYPES = frozenset({"jwt", "at+jwt"})
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/\0\0")


@dataclass(frozen=True, slots=True)
class Token:
    """What it says. `signed` are the bytes that `signature` is of."""

    algorithm: str
    key_id: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read(token: str) -> Token:
    """The token's parts. Raises `Wrong`, also for a header that demands what is not done here (`crit`, `b64`).

    Where a header says where keys are (`jku`, `x5u`) or brings one (`jwk`, `x5c`), that is passed over.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise Wrong("size" if len(token) > MAX_TOKEN else "form")
    pieces = token.encode("ascii").split(b".", 3)
    if len(pieces) != 3 or not all(pieces):
        raise Wrong("form")
    algorithm, key_id = _header(pieces[0])
    return Token(algorithm, key_id, _object(pieces[1]), b".".join(pieces[:2]), decoded(pieces[2]))


@lru_cache(maxsize=64)
def _header(piece: bytes) -> tuple[str, str | None]:
    """Algorithm and key id. An issuer writes the same header again and again, so it is read once. Raises `Wrong`."""
    header = _object(piece)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise Wrong("algorithm")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID):
        raise Wrong("key_id")
    if "crit" in header or "b64" in header:
        raise Wrong("crit")
    kind = header.get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Wrong(
            "type"
        )  # a token made for something else, such as a logout, is none for access (RFC 8725, section 3.11)
    return algorithm, key_id


def decoded(text: bytes) -> bytes:
    """The bytes that `text` writes in base64url without padding. Raises `Wrong` for every other way to write them."""
    standard = text.translate(_TO_STANDARD) + b"=" * (-len(text) % 4)
    try:
        found = binascii.a2b_base64(standard, strict_mode=True)
    except binascii.Error:
        raise Wrong("base64url") from None
    # of the last character some bits stand for nothing, and have to be zero
    if base64.b64encode(found) != standard or b"=" in text:
        raise Wrong("base64url")
    return found


def _object(piece: bytes) -> dict[str, Any]:
    text = decoded(piece)
    try:
        found = strict_json.loads(text, depth=MAX_DEPTH, unique=True)
    except ValueError:
        raise Wrong("json") from None
    if not isinstance(found, dict):
        raise Wrong("json")
    return found
