"""Loaded into every process of the shop under test: finds each durable write, and dies at the one that is armed.

A durable write is a COMMIT of a transaction that changed a table. Its name is the service and the tables, so the list of
points comes from the writes themselves; `before` and `after` are the two sides of the commit.
"""

import os
import re
import signal
import sqlite3
from pathlib import Path

_WRITE = re.compile(r"\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_SERVICE = os.environ.get("SKERRY_SERVICE", "")
_FOLDER = os.environ.get("CRASH_POINTS", "")
_SCHEMA = {"skerry_migrations", "skerry_owner", "sqlite_sequence"}


class Spy(sqlite3.Connection):
    """A connection that knows which tables its open transaction has written."""

    written: set[str]

    def execute(self, sql, *args):
        word = sql.lstrip()[:6].upper()
        if word == "COMMIT":
            tables = "+".join(sorted(self.written - _SCHEMA)) if not self.written & _SCHEMA else ""
            self.written = set()
            return self._commit(sql, tables)
        if word in {"BEGIN ", "ROLLBA"}:
            self.written = set()
        self._note(sql)
        return super().execute(sql, *args)

    def executemany(self, sql, *args):
        self._note(sql)
        return super().executemany(sql, *args)

    def _note(self, sql):
        match = _WRITE.match(sql)
        if match:
            self.written.add(match[1].lower())

    def _commit(self, sql, tables):
        if not tables:
            return super().execute(sql)
        reach(f"{_SERVICE}:{tables}:before")
        result = super().execute(sql)
        reach(f"{_SERVICE}:{tables}:after")
        return result


def reach(point):
    """Write down that the point was reached; die when it is the armed one."""
    with Path(_FOLDER, "reached").open("a") as out:
        out.write(point + "\n")
    armed = Path(_FOLDER, "armed")
    try:
        wanted = armed.read_text()
    except FileNotFoundError:
        return
    if wanted == point:
        armed.rename(armed.with_name("fired"))
        os.kill(os.getpid(), signal.SIGKILL)


if _FOLDER:
    _connect = sqlite3.connect

    def connect(*args, **kwargs):
        connection = _connect(*args, factory=Spy, **kwargs)
        connection.written = set()
        return connection

    sqlite3.connect = connect
