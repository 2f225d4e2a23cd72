"""Reading past a message of RabbitMQ whose properties cannot be read: the driver would end the connection, at each try anew."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pamqp.frame
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

_HEADER: Final = b"\x02"
_SIZE_AT: Final = slice(3, 7)
_PROPERTIES_AT: Final = 12
"""Behind the class, the weight and the size of the body, which are kept."""
_NO_PROPERTIES: Final = b"\x00\x00\xce"
"""No flag, and the end of the frame."""


def readable_frames(scheme: str) -> Any:
    """The driver's `TransportFactory` for connections on which a header that it cannot read has no properties."""
    return _Frames(scheme)


class _Frames(TransportFactory):
    def __init__(self, scheme: str) -> None:
        self._inner: TransportFactory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `TransportFactory.create`."""
        reader, writer = await self._inner.create(url, **options)
        readable: Any = _Reader(reader)
        return readable, writer


class _Reader:
    """What the driver asks of a stream. It reads a frame's first byte alone, so a header is looked at before it goes on."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._ahead = b""

    def at_eof(self) -> bool:
        return not self._ahead and self._reader.at_eof()

    async def read(self) -> bytes:
        return await self._reader.read()

    async def readexactly(self, count: int) -> bytes:
        if self._ahead:
            taken, self._ahead = self._ahead[:count], self._ahead[count:]
            return taken
        taken = await self._reader.readexactly(count)
        if taken == _HEADER:
            start = taken + await self._reader.readexactly(6)
            rest = await self._reader.readexactly(int.from_bytes(start[_SIZE_AT]) + 1)
            self._ahead = _readable(start, rest)[1:]
        return taken


def _readable(start: bytes, rest: bytes) -> bytes:
    if not rest[_PROPERTIES_AT + 2 : -1].isascii():  # which most are, and then there is nothing to look for
        try:
            pamqp.frame.unmarshal(start + rest)
        except Exception:  # a text that is none, a time that is none, whatever it is
            rest = rest[:_PROPERTIES_AT] + _NO_PROPERTIES
            start = start[: _SIZE_AT.start] + (len(rest) - 1).to_bytes(4)
    return start + rest
