"""An issuer of tokens, good ones and bad ones: whatever is asked for is written and signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from skerry.gateway.model import JwtProvider
from skerry.testing import VirtualClock

URL = "https://id.example"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def written(value: object) -> str:
    """A piece of a token; a string is taken as JSON text that stands already."""
    return b64((value if isinstance(value, str) else json.dumps(value)).encode())


class Issuer:
    """Holds one key of each type, known by the ids `rsa`, `ec` and `ed`."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.public = {
            "rsa": RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True),
            "ec": ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True),
            "ed": OKPAlgorithm.to_jwk(self.ed.public_key(), as_dict=True),
        }

    def jwks(self, *names: str, **change: Any) -> bytes:
        """The set of these keys, all unless named, each with `change` on top."""
        keys = [{**self.public[name], "kid": name, **change} for name in names or self.public]
        return json.dumps({"keys": [{n: v for n, v in key.items() if v is not None} for key in keys]}).encode()

    def sign(self, text: str, algorithm: str, key: Any = None) -> str:
        """`text` with its signature."""
        made = key or {"RS": self.rsa, "PS": self.rsa, "ES": self.ec, "Ed": self.ed}[algorithm[:2]]
        return f"{text}.{b64(get_default_algorithms()[algorithm].sign(text.encode(), made))}"

    def token(
        self, clock: VirtualClock, *, algorithm: str = "RS256", header: Any = None, claims: Any = None, **change: Any
    ) -> str:
        """A good token, but for what `header`, `claims` (whole) or `change` (single claims; None takes one away) say."""
        kid = {"RS": "rsa", "PS": "rsa", "ES": "ec", "Ed": "ed"}[algorithm[:2]]
        head = {"alg": algorithm, "kid": kid} if header is None else header
        if claims is None:
            now = clock.now()
            good = {"iss": URL, "aud": "shop", "sub": "ada", "exp": now + 600, "iat": now, "scope": "read write"}
            claims = {name: value for name, value in {**good, **change}.items() if value is not None}
        return self.sign(f"{written(head)}.{written(claims)}", algorithm)


def provider(folder: Path, document: bytes, **change: Any) -> JwtProvider:
    """One whose keys are in a file."""
    file = folder / "jwks.json"
    file.write_bytes(document)
    about = {"name": "id", "issuer": URL, "audiences": ("shop",), "jwks_file": str(file), **change}
    return JwtProvider(**about)
