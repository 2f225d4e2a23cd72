"""Wake-up hints between processes of one machine: a datagram says "look again", and may get lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

UNSAID: Final = b"!"
"""The word of a ring that does not say where something is new."""
_LONGEST: Final = 128
_MOST: Final = 1000
"""Different words that are remembered."""


class Wake:
    """Rings the readers that listen in a folder, and listens there itself.

    Sockets are addressed through the folder's descriptor, since a unix socket's path may have only 107 bytes. Where that
    is not possible nothing is heard, and readers fall back to polling.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._listening = False
        self._listener: socket.socket | None = None
        self._sender: socket.socket | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()
        self.rings: int = 0
        self.heard: dict[bytes, int] = {}
        """The words of the rings, each with the number of its last one."""

    async def listen(self, name: str) -> None:
        """Hear rings from now on; later calls change nothing."""
        if self._listening:
            return
        self._listening = True
        listener = await asyncio.to_thread(self._bind, name[:80])
        if listener is None:
            return
        try:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._hear)
        except (OSError, NotImplementedError):  # not every event loop watches sockets
            listener.close()
            return
        self._listener = listener

    @property
    def hears(self) -> bool:
        """Whether rings reach this process like any other."""
        return self._listener is not None

    async def ring(self) -> None:
        """Wake every listener in the folder. The sockets of dead ones are removed. Raises nothing: it is only a hint."""
        self.stir()
        await asyncio.to_thread(self.ring_others)

    def _bind(self, name: str) -> socket.socket | None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            address = self._address(name)
            Path(address).unlink(missing_ok=True)
            listener.bind(address)
        except OSError:
            listener.close()
            return None
        return listener

    def ring_others(self, word: bytes = UNSAID) -> None:
        """`ring` for the listeners elsewhere, with a word of at most 128 bytes; blocks, so it is for a thread."""
        with self._lock, contextlib.suppress(OSError):
            self._send_all(word)

    def _send_all(self, word: bytes) -> None:
        names = os.listdir(self._folder)  # noqa: PTH208 - paths take half of the time
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        for name in names:
            try:
                self._sender.sendto(word, self._address(name))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            except OSError:
                continue  # its buffer is full, so it is awake already; or it has just gone

    async def wait(self, seconds: float, *, after: int) -> None:
        """Return at the next ring, or after `seconds`; at once when `rings` has moved on from `after`."""
        if self.rings != after:
            return
        loop = asyncio.get_running_loop()
        ring: asyncio.Future[None] = loop.create_future()
        end = loop.call_later(max(0.0, seconds), _end, ring)
        self._waiting.add(ring)
        try:
            await ring
        finally:
            end.cancel()
            self._waiting.discard(ring)

    async def close(self) -> None:
        """Stop listening and remove the socket. Safe to call twice."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        with self._lock:
            if self._listener is not None:
                address = self._listener.getsockname()
                self._listener.close()
                self._listener = None
                with contextlib.suppress(OSError):
                    Path(address).unlink()
            if self._sender is not None:
                self._sender.close()
                self._sender = None
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _address(self, name: str) -> str:
        if self._descriptor is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def _hear(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self.stir((self._listener.recv(_LONGEST),))  # one: another rings again, and to hear of none costs as much

    def stir(self, words: Iterable[bytes] = (UNSAID,)) -> None:
        """Wake who waits in this process."""
        self.rings += 1
        if len(self.heard) >= _MOST:
            self.heard.clear()
            self.heard[UNSAID] = self.rings  # whatever was forgotten
        self.heard.update(dict.fromkeys(words, self.rings))
        for ring in self._waiting:
            _end(ring)


def _end(ring: asyncio.Future[None]) -> None:
    if not ring.done():
        ring.set_result(None)
