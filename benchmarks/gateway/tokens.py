"""A key pair for the run, and tokens by it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def key_and_tokens(folder: Path, number: int) -> tuple[Path, list[str]]:
    """The file of the public key, and tokens that are good for an hour, each another's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": _number(public.n), "e": _number(public.e)}
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk]}))
    return file, [_signed(key, f"user-{each}") for each in range(number)]


def _signed(key: rsa.RSAPrivateKey, subject: str) -> str:
    claims = {"iss": "https://id.test", "aud": "bench", "sub": subject, "exp": int(time.time()) + 3600}
    signed = f"{_part({'alg': 'RS256', 'kid': 'one', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{signed}.{_text(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _part(value: object) -> str:
    return _text(json.dumps(value).encode())


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
