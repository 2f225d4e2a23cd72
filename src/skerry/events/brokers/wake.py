"""Wake-up hints between processes of one machine: a datagram says "look again", and may get lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path


class Wake:
    """Rings the readers that listen in a folder, and listens there itself.

    Sockets are addressed through the folder's descriptor, since a unix socket's path may have only 107 bytes. Where that
    is not possible nothing is heard, and readers fall back to polling.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._listener: socket.socket | None = None
        self._sender: socket.socket | None = None
        self._bell = asyncio.Event()
        self.rings = 0

    def listen(self, name: str) -> None:
        """Hear rings from now on; later calls change nothing."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            loop = asyncio.get_running_loop()
            listener.setblocking(False)
            address = self._address(name[:80])
            Path(address).unlink(missing_ok=True)
            listener.bind(address)
            loop.add_reader(listener.fileno(), self._hear)
        except (OSError, NotImplementedError, RuntimeError):  # RuntimeError: no loop runs yet
            listener.close()
            return
        self._listener = listener

    def ring(self) -> None:
        """Wake every listener in the folder. The sockets of dead ones are removed. Never raises: it is only a hint."""
        self._ding()
        with contextlib.suppress(OSError):
            if self._folder.is_dir():
                self._ring_others()

    def _ring_others(self) -> None:
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        for name in [entry.name for entry in self._folder.iterdir()]:
            try:
                self._sender.sendto(b"!", self._address(name))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            except OSError:
                continue  # its buffer is full, so it is awake already; or it has just gone

    async def wait(self, seconds: float, *, after: int) -> None:
        """Return at the next ring, or after `seconds`; at once when `rings` has moved on from `after`."""
        if self.rings == after:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._bell.wait()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._listener is not None:
            with contextlib.suppress(OSError, RuntimeError):
                asyncio.get_running_loop().remove_reader(self._listener.fileno())
            address = self._listener.getsockname()
            self._listener.close()
            with contextlib.suppress(OSError):
                Path(address).unlink()
            self._listener = None
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
            for _ in range(64):  # bounded: what is left rings again
                self._listener.recv(16)
        self._ding()

    def _ding(self) -> None:
        self.rings += 1
        self._bell.set()
        self._bell = asyncio.Event()
