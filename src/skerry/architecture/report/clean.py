"""Texts that came from somebody else's repository, made harmless for a terminal and of bounded length."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 2_000
"""Characters of one text."""


def clean(text: str, most: int = MAX_TEXT) -> str:
    """`text` on one line, without control characters, marks of direction and halves of surrogates; cut at `most`."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(
        each if each.isprintable() else " " if each in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" for each in short
    )
