"""How long a statement may take on an engine that can fall silent. The engine has a limit; a migration has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

LONGEST: Final = 86_400.0
"""Seconds that a statement of a migration may take."""

patience: ContextVar[float | None] = ContextVar("skerry_patience", default=None)
"""Seconds that each statement of this task may take; None for the engine's own limit."""


@contextmanager
def patient(seconds: float = LONGEST) -> Iterator[None]:
    """Statements in the block may take so long."""
    before = patience.set(seconds)
    try:
        yield
    finally:
        patience.reset(before)
