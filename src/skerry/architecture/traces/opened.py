"""Files with traces: opened without waiting, unpacked within bounds, split into lines or read as one text."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from skerry.architecture.source.files import MiB

_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = MiB


class Unusable(Exception):
    """A file, or the rest of it, that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of traces is read at most."""

    total: int = 2048 * MiB
    """Bytes of all files together, unpacked."""
    line: int = 32 * MiB
    document: int = 128 * MiB
    """Bytes of a file that is one JSON value and has to be in memory as text."""
    spans: int = 400_000
    spans_of_trace: int = 20_000
    told: int = 100
    """Reasons of one file that are told one by one."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Budget:
    """What is left of the bytes for all files."""

    left: int


class Opened:
    """One file's bytes, unpacked, and never more than the budget has."""

    def __init__(self, stream: _Stream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._ahead = b""

    def head(self, size: int = 65_536) -> bytes:
        """The first bytes; they are read again after this."""
        while len(self._ahead) < size:
            chunk = self._take(size)
            if not chunk:
                break
            self._ahead += chunk
        return self._ahead[:size]

    def lines(self, limit: int) -> Iterator[tuple[int, bytes | None]]:
        """Each line with its number from 1; None for one that is longer than `limit`."""
        number, parts, length = 1, [], 0
        while chunk := self._next():
            pieces = chunk.split(b"\n")
            for index, piece in enumerate(pieces):
                length += len(piece)
                if length <= limit:
                    parts.append(piece)
                else:
                    parts.clear()  # too long: what was kept of it is of no use
                if index < len(pieces) - 1:
                    yield number, b"".join(parts) if length <= limit else None
                    number, parts, length = number + 1, [], 0
        if length:
            yield number, b"".join(parts) if length <= limit else None

    def text(self, limit: int) -> str:
        """All of it. Raises `Unusable` when it is more than `limit` bytes."""
        content = self.content(limit, f"one JSON value of more than {limit // MiB} MiB: write one a line")
        return content.decode("utf-8-sig", errors="replace")

    def content(self, limit: int, larger: str) -> bytes:
        """All of its bytes. Raises `Unusable` with `larger` when they are more than `limit`."""
        parts, length = [], 0
        while chunk := self._next():
            length += len(chunk)
            if length > limit:
                raise Unusable(larger)
            parts.append(chunk)
        return b"".join(parts)

    def _next(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or self._take(_CHUNK)

    def _take(self, size: int) -> bytes:
        try:
            chunk = self._stream.read(min(size, _CHUNK))
        except (OSError, EOFError, zlib.error) as error:
            raise Unusable(f"cannot be unpacked or read further: {type(error).__name__}") from error
        self._budget.left -= len(chunk)
        if self._budget.left < 0:
            raise Unusable("more bytes than are read of traces")
        return chunk


@contextmanager
def opened(path: Path, budget: Budget) -> Iterator[Opened]:
    """A regular file, unpacked if it begins as gzip does. Raises `Unusable` for what is none; a pipe is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise Unusable(error.strerror or "cannot be opened") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unusable("not a regular file")
    with os.fdopen(handle, "rb") as raw:
        packed = raw.peek(2)[:2] == _GZIP
        if packed:
            with gzip.open(raw) as unpacked:
                yield Opened(unpacked, budget)
        else:
            yield Opened(raw, budget)
