"""How long a statement may take on an engine that can fall silent, and what becomes of one whose task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

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


async def finished(job: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Return when `job` has ended, also when cancelled meanwhile: then that is returned, for the caller to raise.

    It waits for a turn of the event loop at least, as `asyncio.wait` does, which costs several times as much.
    """
    cancelled: asyncio.CancelledError | None = None
    while True:  # until the job has ended
        ended: asyncio.Future[None] = job.get_loop().create_future()
        job.add_done_callback(partial(_tell, ended))
        try:
            await ended
        except asyncio.CancelledError as error:
            cancelled = error
        if job.done():
            return cancelled


def _tell(ended: asyncio.Future[None], _job: object) -> None:
    if not ended.done():
        ended.set_result(None)


@contextmanager
def cancellable() -> Iterator[None]:
    """A cancellation that arrives in the block leaves it as `CancelledError`, whatever the driver has made of it.

    Drivers wait by `asyncio.wait_for`, which in Python 3.11 returns the result, and forgets the cancellation, when both come in
    the same turn of the loop (cpython issue 86296, gone in 3.12): what goes on then is a loop that nobody can end. Others make
    an error of their own of it.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except Exception:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
