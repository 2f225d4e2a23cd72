"""Finds a process's durable writes: each COMMIT of a transaction that changed a table, seen at the database driver.

So the list of points at which a process can die comes from the writes themselves.
"""

import re
import sqlite3

_WRITE = re.compile(r"\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)


def watch(reach):
    """Call `reach(tables, side)` before and after each durable write; `side` is "before" or "after"."""

    class Spy(sqlite3.Connection):
        """A connection that knows which tables its open transaction has written."""

        def execute(self, sql, *args):
            word = sql.lstrip()[:6].upper()
            if word == "COMMIT":
                written, self.written = self.written, set()
                if written:
                    reach(written, "before")
                result = super().execute(sql)
                if written:
                    reach(written, "after")
                return result
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

    original = sqlite3.connect

    def connect(*args, **kwargs):
        connection = original(*args, factory=Spy, **kwargs)
        connection.written = set()
        return connection

    sqlite3.connect = connect
