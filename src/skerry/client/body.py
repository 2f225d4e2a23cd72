"""The body of a request: JSON, bytes, a form, files, or pieces that are sent as they come."""

from __future__ import annotations

import asyncio
import json as json_
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

from skerry.client.transport import Body
from skerry.clock import Clock

PIECE = 64 * 1024
"""Bytes of a file that are in memory at a time."""
File = BinaryIO | bytes | tuple[str, BinaryIO | bytes] | tuple[str, BinaryIO | bytes, str]
"""What is in it; with a file name; with a media type as well."""
Data = Mapping[str, str | int | float]
Content = bytes | str | AsyncIterable[bytes]
_UNSAFE = re.compile(r'[\r\n"]')
_ESCAPED = {"\r": "%0D", "\n": "%0A", '"': "%22"}


def encoded(
    *, json: Any, content: Content | None, data: Data | None, files: Mapping[str, File] | None, clock: Clock
) -> tuple[Body, list[tuple[str, str]]]:
    """The body, and the headers that describe it. Raises `ValueError` when more than one is given."""
    given = [json is not None, content is not None, data is not None or files is not None]
    if sum(given) > 1:
        raise ValueError("give one of json, content, and data with files")
    if json is not None:
        text = json_.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode(), [("content-type", "application/json")]
    if files is not None:
        form = Multipart(data or {}, files, boundary=clock.random_bytes(16).hex())
        kind = ("content-type", f"multipart/form-data; boundary={form.boundary}")
        return form, [kind, ("content-length", str(form.length))]
    if data is not None:
        return urlencode(data).encode(), [("content-type", "application/x-www-form-urlencoded")]
    return (content.encode() if isinstance(content, str) else content or b""), []


@dataclass(frozen=True, slots=True)
class _Part:
    head: bytes
    source: BinaryIO | bytes
    start: int
    length: int


class Multipart:
    """A form with files (RFC 7578). Files are read while they are sent, in another thread, so memory stays bounded.

    It can be sent again: each time a file is read from where it stood. So files have to be seekable.
    """

    def __init__(self, data: Data, files: Mapping[str, File], *, boundary: str) -> None:
        self.boundary = boundary
        fields = [self._part(name, str(value).encode(), "", "") for name, value in data.items()]
        self._parts = fields + [self._part(name, *_described(file)) for name, file in files.items()]
        self._end = f"--{boundary}--\r\n".encode()

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return sum(len(part.head) + part.length + 2 for part in self._parts) + len(self._end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part.head
            if isinstance(part.source, bytes):
                yield part.source
            else:
                async for piece in _pieces(part.source, part.start, part.length):
                    yield piece
            yield b"\r\n"
        yield self._end

    def _part(self, name: str, source: BinaryIO | bytes, filename: str, kind: str) -> _Part:
        head = f'--{self.boundary}\r\ncontent-disposition: form-data; name="{_quoted(name)}"'
        if filename:
            head += f'; filename="{_quoted(filename)}"'
        if kind:
            head += f"\r\ncontent-type: {_quoted(kind)}"
        start, length = _measured(name, source)
        return _Part(f"{head}\r\n\r\n".encode(), source, start, length)


def _described(file: File) -> tuple[BinaryIO | bytes, str, str]:
    if not isinstance(file, tuple):
        name = getattr(file, "name", None)
        file = (os.path.basename(name) if isinstance(name, str) else "upload", file)  # noqa: PTH119 - no path is touched
    filename, source = file[0], file[1]
    return source, filename, file[2] if len(file) == 3 else "application/octet-stream"


def _measured(name: str, source: BinaryIO | bytes) -> tuple[int, int]:
    if isinstance(source, bytes):
        return 0, len(source)
    if not source.seekable():
        raise ValueError(f"the file {name!r} cannot be read twice; send it as `content`")
    start = source.tell()
    length = source.seek(0, os.SEEK_END) - start
    source.seek(start)
    return start, length


async def _pieces(source: BinaryIO, start: int, length: int) -> AsyncIterator[bytes]:
    await asyncio.to_thread(source.seek, start)
    left = length
    while left:
        piece = await asyncio.to_thread(source.read, min(PIECE, left))
        if not piece:
            raise ValueError("a file has become shorter while it was sent")
        left -= len(piece)
        yield piece


def _quoted(text: str) -> str:
    return _UNSAFE.sub(lambda found: _ESCAPED[found[0]], text)
