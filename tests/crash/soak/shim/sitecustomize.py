"""Loaded into every process of the storm: dies, or stops, at the durable write that the nemesis has armed for it.

A durable write is a COMMIT of a transaction that changed a table. A process is armed by a file `NAME.armed` which says
what happens (`kill` or `stop`), at a write to which table, and on which side of the commit. The fault goes into the history
by the hand of the one that suffers it, so that only faults that happened are counted.

The clock on the wall goes wrong by as many seconds as the file `wall` says; the monotonic one does not.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "shim"))

from durable_writes import watch

_PROCESS = os.environ.get("SKERRY_SERVICE", "")
_FOLDER = os.environ.get("SOAK_POINTS", "")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def reach(tables, side):
    """Suffer the armed fault when this is its point."""
    armed = Path(_FOLDER, f"{_PROCESS}.armed")
    try:
        what, table, wanted = armed.read_text().split()
        if wanted != side or table not in tables:
            return
        armed.rename(armed.with_suffix(".fired"))
    except (FileNotFoundError, ValueError):
        return
    name = f"{what} at {table}"
    line = {
        "t": time.monotonic(),
        "kind": "fault",
        "name": f"{what}-at",
        "process": _PROCESS,
        "point": f"{name} {side}",
    }
    descriptor = os.open(os.environ["SOAK_HISTORY"], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)
    os.kill(os.getpid(), _SIGNALS[what])


class Wall:
    """`time.time` of a host whose clock is being set. Looks at the file ten times a second."""

    def __init__(self):
        self._true_time = time.time
        self._wrong_by = 0.0
        self._looked = 0.0

    def __call__(self):
        now = time.monotonic()
        if now > self._looked + 0.1:
            self._looked = now
            try:
                self._wrong_by = float(Path(_FOLDER, "wall").read_text())
            except (FileNotFoundError, ValueError):
                self._wrong_by = 0.0
        return self._true_time() + self._wrong_by


if os.environ.get("SOAK_WALL") == "1":
    time.time = Wall()

if _FOLDER:
    watch(reach)
