"""The access log: one JSON line a request, written by a thread of its own, so that a full pipe stops nobody."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from skerry.clock import Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import AccessLog

if TYPE_CHECKING:
    from skerry.gateway.engine.exchange import Exchange

MAX_WAITING: Final = 65_536
"""Lines that wait to be written; beyond it they are dropped, and how many were is told in the next line that is written."""
EVERY: Final = 0.05
"""Seconds between two times of writing."""
NOWHERE: Final = ',"service":"","attempts":'
"""What a line says of a request that has no service to go to."""
_PLAIN: Final = frozenset(map(chr, range(32, 127))) - {'"', "\\"}


class AccessWriter:
    """Writes the lines of one worker. `close` writes what waits."""

    def __init__(self, log: AccessLog, clock: Clock) -> None:
        self._clock = clock
        self._sample = log.sample
        self._waiting: list[str] = []
        self._dropped = 0
        self._second = -1
        self._shown = ""
        self._ended = threading.Event()
        try:
            self._file = (
                os.dup(1)
                if log.file == "-"
                else os.open(log.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            )
        except OSError as error:
            raise ConfigurationError(f"access_log: {log.file} cannot be written: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write_on, name="skerry-access-log", daemon=True)
        self._thread.start()

    def add(self, exchange: Exchange, seconds: float) -> None:
        """Note how a request ended."""
        if not self._room(exchange.status):
            return
        head, call = exchange.head, exchange.call
        where = "" if exchange.plan is None else exchange.plan.shown
        if call is not None:
            target = call.target
            shown = NOWHERE if target is None else target.shown
            where = f"{where}{shown}{call.attempts}"
        more = "" if not exchange.why else f',"why":"{exchange.why}"'
        if exchange.identity:
            more += f',"identity":{json.dumps(exchange.identity)}'
        self._waiting.append(
            f'{{"time":"{self._time()}","peer":"{exchange.peer}","method":"{head.method}","host":"{head.host}",'
            f'"path":"{head.path}"{where},"status":{exchange.status},"bytes":{exchange.bytes},'
            f'"ms":{int(seconds * 1e6) / 1000},"trace":"{exchange.context[3:35]}"{more}}}\n'
        )

    def refused(self, peer: str, status: int, why: str) -> None:
        """Note what could not be read as a request. Nothing of it is shown: nobody knows what it is."""
        if self._room(status):
            self._waiting.append(
                f'{{"time":"{self._time()}","peer":"{peer}","status":{status},"bytes":0,"why":"{why}"}}\n'
            )

    def _room(self, status: int) -> bool:
        """Whether a line is to be written for this status, and can be."""
        if status < 500 and self._sample < 1.0 and self._clock.random() >= self._sample:
            return False
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return False
        return True

    def _time(self) -> str:
        now = self._clock.now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._shown}{int((now - second) * 1000):03d}Z"

    def _write_on(self) -> None:
        while not self._ended.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        if self._dropped:
            lines.append(f'{{"time":"{self._time()}","dropped":{self._dropped}}}\n')
            self._dropped = 0
        if not lines:
            return
        data = "".join(lines).encode("ascii", "replace")
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            print(f"gateway: the access log cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201

    def close(self) -> None:
        """Write the rest, waiting a moment for it."""
        self._ended.set()
        self._thread.join(1.0)
        if not self._thread.is_alive():
            os.close(self._file)
