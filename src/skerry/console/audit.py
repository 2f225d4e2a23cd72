"""Who did what by hand: every act is written down before it is done, and how it ended after it."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError

SHOWN: Final = 200
"""Records that are kept in memory and shown, the newest."""
MAX_READ: Final = 256 * 1024
"""Bytes of an earlier console's file that are read at start."""
MAX_REASON: Final = 300


class Audit:
    """A file of JSON lines, only ever appended to and synced; what cannot be written down is not done.

    A line is `{"at", "id", "service", "kind", "target", "action", "reason", "outcome"}`, its outcome first `asked`, then `done`
    or why it was refused. A process that is killed between the two leaves `asked`: the act may have been done.
    """

    def __init__(self, file: Path | None, *, clock: Clock = SYSTEM) -> None:
        self._file = file
        self._clock = clock
        self._shown: deque[dict[str, Any]] = deque(_earlier(file), maxlen=SHOWN)

    @property
    def kept(self) -> bool:
        """Whether there is a file, without which there are no acts."""
        return self._file is not None

    def begin(self, *, service: str, kind: str, target: str, action: str, reason: str) -> dict[str, Any]:
        """Write down what is about to be done. Raises `ConfigurationError` when that cannot be done."""
        record = {
            "id": str(self._clock.uuid()),
            "service": service,
            "kind": kind,
            "target": target,
            "action": action,
            "reason": reason[:MAX_REASON],
        }
        self._write(record, "asked")
        return record

    def end(self, record: Mapping[str, Any], outcome: str) -> None:
        """Write down what came of it."""
        self._write(record, outcome[:MAX_REASON])

    def records(self) -> list[dict[str, Any]]:
        """The newest first, each act once, as it ended."""
        found: dict[str, dict[str, Any]] = {}
        for record in reversed(self._shown):
            found.setdefault(str(record.get("id")), record)
        return list(found.values())

    def _write(self, record: Mapping[str, Any], outcome: str) -> None:
        whole = {"at": self._clock.now(), **record, "outcome": outcome}
        if self._file is None:
            raise ConfigurationError("this console keeps no audit records, so nothing can be changed from it")
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, json.dumps(whole).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            text = f"the audit record cannot be written ({error.strerror}), so nothing was changed"
            raise ConfigurationError(text) from error
        self._shown.append(whole)


def _earlier(file: Path | None) -> list[dict[str, Any]]:
    """The last records of an earlier console; lines that are none are passed over."""
    if file is None or not file.is_file():
        return []
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - MAX_READ))
        lines = content.read(MAX_READ).splitlines()
    found = []
    for line in lines[-SHOWN:]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found
