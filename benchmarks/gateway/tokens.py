"""A key pair for the run, and a token by it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def key_and_token(folder: Path) -> tuple[Path, str]:
    """The file of the public key, and a token that is good for an hour."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": _number(public.n), "e": _number(public.e)}
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk]}))
    claims = {"iss": "https://id.test", "aud": "bench", "sub": "load", "exp": int(time.time()) + 3600}
    signed = f"{_part({'alg': 'RS256', 'kid': 'one', 'typ': 'JWT'})}.{_part(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return file, f"{signed}.{_text(signature)}"


def _part(value: object) -> str:
    return _text(json.dumps(value).encode())


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
