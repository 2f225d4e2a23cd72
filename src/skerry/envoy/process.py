"""Envoy as a child: started with a bootstrap file, watched, started again when it ends, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skerry.clock import SYSTEM, Clock
from skerry.envoy import become, binary, bootstrap
from skerry.envoy.admin import Admin
from skerry.errors import EnvoyError

_log = logging.getLogger("skerry.envoy")

LONGEST_SOCKET = 100
"""Characters of a unix socket's path, a little less than systems take."""
_LINE = 4096
_KEPT_LINES = 12
_POLL = 0.02
_LEVELS: Mapping[str, int] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.DEBUG,  # what it says at `info` is of interest only to who looks for a fault in it
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class EnvoyProcess:
    """One Envoy in `folder`, which has to be private to its user, be there already, and outlive this.

    It ends with the process that started it, however that ends; on Linux with the thread that started it, too. When it ends by
    itself it is started again after 0.1 s, then 0.2 s and so on up to 5 s; `most_restarts` ends in a row, none of them after
    10 s of service, make `failed` set. `source` says whether it gets its configuration from `ADS_SOCKET` or from files.
    Its log goes to the logger `skerry.envoy`; its standard output, where access logs are written to, is ours. `histograms` are
    upper ends of buckets, by how the names of the histograms begin.
    """

    ADS_SOCKET, ADMIN_SOCKET, BOOTSTRAP = "ads.sock", "admin.sock", "bootstrap.json"
    FIRST_PAUSE, LONGEST_PAUSE, RESET_AFTER = 0.1, 5.0, 10.0

    def __init__(
        self,
        folder: Path,
        *,
        node: str,
        program: Path | None = None,
        source: str = "ads",
        workers: int = 1,
        starting: float = 20.0,
        drain: float = 10.0,
        listeners_drain: int = 300,
        most_restarts: int = 10,
        histograms: Mapping[str, Sequence[float]] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        if len(str(folder / self.ADMIN_SOCKET)) > LONGEST_SOCKET:
            raise EnvoyError(f"{folder} is too long a path for a socket: use a shorter folder for temporary files")
        self.folder = folder
        self.admin: Admin = Admin(folder / self.ADMIN_SOCKET)
        self.failed: asyncio.Event = asyncio.Event()
        self.restarts: int = 0
        self._node = node
        self._program = program
        self._source = source
        self._workers = workers
        self._starting = starting
        self._drain = drain
        self._listeners_drain = listeners_drain
        self._most_restarts = most_restarts
        self._histograms = dict(histograms or {})
        self._clock = clock
        self._child: asyncio.subprocess.Process | None = None
        self._stdin: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        """Start it; returns when it serves. Raises `EnvoyError` with its last words when it does not within `starting` s, and
        `MissingExtra` when there is no such program.
        """
        program = self._program or binary.find()
        written = bootstrap_for(self.folder, node=self._node, source=self._source)
        if self._histograms:
            written = bootstrap.with_histograms(written, self._histograms)
        (self.folder / self.BOOTSTRAP).write_text(json.dumps(written))
        self._task = asyncio.create_task(self._keep(program), name="keep envoy")
        try:
            async with asyncio.timeout(self._starting):
                while not await self.admin.live():
                    if self.failed.is_set():
                        raise EnvoyError(f"Envoy ended before it served. Its last words: {self.last_words()}")
                    await self._clock.sleep(_POLL)
        except TimeoutError:
            words = self.last_words()
            await self.kill()
            raise EnvoyError(f"Envoy did not serve within {self._starting:g} s. Its last words: {words}") from None
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stop to listen, let requests under way end for at most `drain` s, and end it; returns when it is gone."""
        with contextlib.suppress(EnvoyError, TimeoutError):
            async with asyncio.timeout(self._drain):
                await self.admin.drain()
                while await self._busy():
                    await self._clock.sleep(_POLL * 2)
        self._stopping = True
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=5.0)
        await self.kill()

    async def kill(self) -> None:
        """End it at once and for good."""
        self._stopping = True
        self._end_child()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def last_words(self) -> str:
        """The last lines that it wrote."""
        return " / ".join(self._lines) or "none"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _busy(self) -> bool:
        active = await self.admin.stats(r"^http\..*\.downstream_rq_active$")
        return any(count for name, count in active.items() if not name.startswith("http.admin."))

    async def _keep(self, program: Path) -> None:
        in_a_row = 0
        try:
            while not self._stopping:
                began = self._clock.monotonic()
                code = await self._live(program)
                if self._stopping:
                    return
                in_a_row = 1 if self._clock.monotonic() - began >= self.RESET_AFTER else in_a_row + 1
                _log.warning("Envoy ended with %s; it is started again", _described(code))
                if in_a_row > self._most_restarts:
                    _log.error("Envoy ended %d times in a row and stays down: %s", in_a_row, self.last_words())
                    self.failed.set()
                    return
                pause = min(self.LONGEST_PAUSE, self.FIRST_PAUSE * 2.0 ** (in_a_row - 1))
                await self._clock.sleep(pause * (1 - self._clock.random() / 2))
                self.restarts += 1
        finally:
            self._end_child()

    async def _live(self, program: Path) -> int:
        """One life of the process; returns its exit code."""
        for name in (self.ADMIN_SOCKET,):
            (self.folder / name).unlink(missing_ok=True)
        stdin, self._stdin = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *envoy_command(
                    program,
                    self.folder / self.BOOTSTRAP,
                    workers=self._workers,
                    listeners_drain=self._listeners_drain,
                ),
                stdin=stdin,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("SKERRY_")},
            )
        except OSError as error:
            self._lines.append(f"{program} cannot be started: {error.strerror}")
            return become.FAILED
        finally:
            os.close(stdin)
        self._child = child
        assert child.stderr is not None, "asked for above"
        try:
            await self._read(child.stderr)
            return await child.wait()
        finally:
            self._end_child()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                await stream.readexactly(error.consumed)  # the middle of a line that is too long is left out
                continue
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    self._say(error.partial)
                return
            self._say(line)

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        level, _, rest = text.removeprefix("[").partition("]")
        if level not in _LEVELS:
            level, rest = "debug", text  # more of a line before it
        self._lines.append(rest[:300])
        # While it stops it complains of what we do to it.
        _log.log(logging.DEBUG if self._stopping else _LEVELS[level], "%s", rest)

    def _end_child(self) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None


def envoy_command(program: Path, file: Path, *, workers: int = 1, listeners_drain: int = 300) -> list[str]:
    """The command line of an Envoy that ends with the process that starts it; `file` is what it starts with."""
    return [
        *(sys.executable, "-I", become.__file__, str(os.getpid())),
        *(str(program), "-c", str(file)),
        *("--concurrency", str(workers), "--disable-hot-restart", "--use-dynamic-base-id"),
        *("--drain-strategy", "immediate", "--drain-time-s", str(listeners_drain)),
        *("-l", "warning", "--log-format", "[%l][%n] %v"),
        *("--component-log-level", "misc:error"),  # or what is deprecated stands there at every change
    ]


def bootstrap_for(folder: Path, *, node: str, source: str) -> dict[str, Any]:
    """What an Envoy in `folder` starts with."""
    admin = folder / EnvoyProcess.ADMIN_SOCKET
    if source == "ads":
        return bootstrap.by_ads(node=node, admin=admin, ads=folder / EnvoyProcess.ADS_SOCKET)
    return bootstrap.by_files(node=node, admin=admin, folder=folder)


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
