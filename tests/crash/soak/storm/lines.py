"""Histories on disk: one JSON object a line, each written by one `write` on a file opened for appending.

So many processes share a file, and a kill loses at most the line of the operation under way.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Lines:
    """Appends to a file of lines; `t` is the monotonic clock, which all processes of one host share."""

    def __init__(self, path: str | Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, kind: str, *, t: float | None = None, **fields: Any) -> None:
        """Append one line before going on."""
        line = {"t": time.monotonic() if t is None else t, "kind": kind, **fields}
        os.write(self._descriptor, (json.dumps(line) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All lines of a file, in order of their time; lines of one instant keep the order of the file."""
    if not path.exists():
        return []
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines() if text.strip()]
    return sorted(lines, key=lambda line: line["t"])
