"""What the loops of relay and consumer share: to be woken, and to be ended."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Wakes one waiting loop; rings before the wait are not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the loop now, or make its next wait return at once."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, at the latest after `seconds`."""
        await wait_for(self._event, seconds)
        self._event.clear()


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, at the latest after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end(task: asyncio.Task[None], *, within: float) -> None:
    """Wait at most `within` seconds for `task` to end by itself, then cancel it; raises what it raised."""
    if within > 0:
        await asyncio.wait({task}, timeout=within)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
