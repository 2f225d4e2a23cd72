"""Names of services and types as words that every broker takes, and back."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9-]")
_ESCAPED: Final = re.compile(r"(?:_[0-9a-f]{2})+")


@lru_cache(1024)
def token(text: str) -> str:
    """A word for a stream's name or a subject; `word` reads it back."""
    return _UNSAFE.sub(lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()), text)


@lru_cache(1024)
def tokens(text: str) -> str:
    """The words of a text with dots, each as `token` writes it."""
    parts = text.split(".")
    return ".".join(map(token, parts)) if all(parts) else token(text)


@lru_cache(1024)
def word(text: str) -> str:
    """What `token` was given."""
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("_", "")).decode(errors="replace"), text)
