"""Where the output of supervised processes goes: a terminal, log files, or both; never back-pressure on a process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO, cast

from skerry.deploy.colours import shown, wants_colour
from skerry.deploy.readable import Prefixes

MAX_LINE = 64 * 1024
"""Bytes. What a process writes beyond this on one line is left out."""
MAX_LOG_FILE = 10 * 1024 * 1024
"""Bytes. A log file beyond this becomes NAME.log.1, replacing the one before."""
QUEUED_LINES = 10_000
_CLOSE_TIMEOUT = 2.0


class Output(Protocol):
    """Takes the lines that processes write. Neither method may block or raise."""

    def line(self, name: str, text: str) -> None:
        """Process `name` wrote `text`, without its line end."""

    def close(self) -> None:
        """No line follows."""


class LineSplitter:
    """Cuts a stream of bytes into lines of bounded length."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._open = bytearray()
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *complete, rest = data.split(b"\n")
        lines = []
        for part in complete:
            self._extend(part)
            lines.append(self._take())
        self._extend(rest)
        return lines

    def finish(self) -> list[str]:
        """The last line, if the stream did not end in a line end."""
        return [self._take()] if self._open else []

    def _extend(self, part: bytes) -> None:
        room = self._limit - len(self._open)
        self._open += part[:room]
        self._cut = self._cut or len(part) > room

    def _take(self) -> str:
        text = self._open.removesuffix(b"\r").decode(errors="replace") + (" [cut]" if self._cut else "")
        self._open.clear()
        self._cut = False
        return text


class Console:
    """Writes `name | text` to a stream, the name coloured on a terminal; of the text only what a terminal does not obey.

    A thread of its own writes, so a terminal that is paused or a slow pipe holds up nobody; lines that find its queue full are
    left out and counted.
    """

    def __init__(self, stream: TextIO, names: Iterable[str], *, colour: bool | None = None) -> None:
        self._descriptor = os.dup(stream.fileno())
        self._prefixes = Prefixes(names, colour=wants_colour(stream, os.environ) if colour is None else colour)
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUED_LINES)
        self._dropped = 0
        self._closed = False
        stream.flush()
        self._thread = threading.Thread(target=self._write, name="skerry-output", daemon=True)
        self._thread.start()

    def line(self, name: str, text: str) -> None:
        self._put(self._prefixes.line(name, text))

    def say(self, text: str) -> None:
        """Write a line of the supervisor's own, without a prefix."""
        self._put(shown(text, styled=False))

    def _put(self, text: str) -> None:
        if self._dropped:
            text = f"({self._dropped} lines left out: they came faster than they could be shown)\n{text}"
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def close(self) -> None:
        """Wait a moment for what is queued, then give up on it."""
        self._closed = True
        try:
            self._queue.put(None, timeout=_CLOSE_TIMEOUT)
        except queue.Full:
            return
        self._thread.join(_CLOSE_TIMEOUT)

    def _write(self) -> None:
        # Straight to the descriptor: a stream's lock, held by a stuck thread, would keep the process from ending.
        broken = False
        while not (self._closed and self._queue.empty()):
            data = memoryview(f"{text}\n".encode(errors="replace")) if (text := self._queue.get()) is not None else b""
            while data and not broken:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:  # the reader is gone; the system runs on without it
                    broken = True
        os.close(self._descriptor)


class LogFiles:
    """Writes each process's lines to `folder/NAME.log`, appending, in files of bounded size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def line(self, name: str, text: str) -> None:
        try:
            file = self._files.get(name) or self._open(name)
            file.write(f"{text}\n".encode(errors="replace"))
            if file.tell() > MAX_LOG_FILE:
                self._files.pop(name).close()
                self.path(name).replace(self._folder / f"{name}.log.1")
        except OSError:  # a full disk must not stop the system, and there is nowhere to say so
            return

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def path(self, name: str) -> Path:
        """The log file of process `name`."""
        return self._folder / f"{name}.log"

    def _open(self, name: str) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = cast("BinaryIO", self.path(name).open("ab", buffering=0))
        self._files[name] = file
        return file


class Both:
    """Hands every line to several outputs."""

    def __init__(self, *outputs: Output) -> None:
        self._outputs = outputs

    def line(self, name: str, text: str) -> None:
        for output in self._outputs:
            output.line(name, text)

    def close(self) -> None:
        for output in self._outputs:
            output.close()
