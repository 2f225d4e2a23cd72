"""Loaded into every process of the shop under test: writes down each durable write, and dies at the one that is armed.

A point is named by the service, the tables and the side of the commit.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "shim"))

from durable_writes import watch

_SERVICE = os.environ.get("SKERRY_SERVICE", "")
_FOLDER = os.environ.get("CRASH_POINTS", "")
_SCHEMA = {"skerry_migrations", "skerry_owner"}


def reach(tables, side):
    """Write down that the point was reached; die when it is the armed one."""
    if tables & _SCHEMA:
        return
    point = f"{_SERVICE}:{'+'.join(sorted(tables - {'sqlite_sequence'}))}:{side}"
    with Path(_FOLDER, "reached").open("a") as out:
        out.write(point + "\n")
    armed = Path(_FOLDER, f"{_SERVICE}.armed")
    try:
        wanted = armed.read_text()
    except FileNotFoundError:
        return
    if wanted == point:
        armed.rename(armed.with_suffix(".fired"))
        os.kill(os.getpid(), signal.SIGKILL)


if _FOLDER:
    watch(reach)
