"""The first screen as it changes: worked out once for everybody who looks, twice a second at most, sent when it differs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.console.picture import Picture

EVERY: Final = 0.5
"""Seconds between two views at least."""
ALIVE: Final = 15.0
"""Seconds after which a comment says that the connection still stands."""
MAX_STREAMS: Final = 16
"""Pages that may look at the same time."""


class Views:
    """The view and its version, which grows when anything but the time differs."""

    def __init__(self, picture: Picture, *, clock: Clock = SYSTEM) -> None:
        self._picture = picture
        self._clock = clock
        self._made = float("-inf")
        self._said = ""
        self._view: dict[str, Any] = {}
        self._version = 0
        self.streams: int = 0
        self.closing: bool = False

    def now(self) -> dict[str, Any]:
        """The view, at most half a second old."""
        now = self._clock.monotonic()
        if now - self._made >= EVERY:
            self._made = now
            view = self._picture.view()
            said = json.dumps({key: value for key, value in view.items() if key != "at"})
            if said != self._said:
                self._said = said
                self._version += 1
            self._view = {"at": view["at"], "version": self._version, **view}
        return self._view

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events until the reader goes away or the console stops. The first comes at once."""
        self.streams += 1
        try:
            sent, said_at = 0, self._clock.monotonic()
            while not self.closing:
                view = self.now()
                now = self._clock.monotonic()
                if view["version"] != sent:
                    sent, said_at = view["version"], now
                    # JSON has no line break outside of its strings, and escapes those within
                    yield f"event: view\nid: {sent}\ndata: {json.dumps(view)}\n\n".encode()
                elif now - said_at >= ALIVE:
                    said_at = now
                    yield b": still here\n\n"
                await self._clock.sleep(EVERY)
        finally:
            self.streams -= 1
