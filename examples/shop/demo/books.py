"""The shop's books: read from the services' own databases and the event log, never through the services."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from skerry.topology import System


class Books:
    """Everything an auditor may look at, read-only."""

    def __init__(self, system: System, data: Path) -> None:
        self._system = system
        self._data = data

    def rows(self, service: str, sql: str) -> list[Any]:
        """Query the database of a service."""
        return _query(self._data / f"{service}.db", sql)

    def number(self, service: str, sql: str) -> int:
        """The one number a query gives; none counts as 0."""
        return int(self.rows(service, sql)[0][0] or 0)

    def open_sagas(self) -> int:
        """Sagas that have not ended."""
        sql = "SELECT count(*) FROM skerry_sagas WHERE status IN ('running', 'compensating')"
        return self.number("order", sql)

    def events(self) -> dict[str, str]:
        """Every event in the log: id -> type."""
        found: dict[str, str] = {}
        for segment in sorted((self._data / "events").glob("*/*.db")):
            if not _query(segment, "SELECT 1 FROM sqlite_master WHERE name = 'log'"):
                continue  # its writer is only just beginning it
            found.update((row[0], row[1]) for row in _query(segment, "SELECT id, type FROM log"))
        return found

    def unsent(self) -> int:
        """Events that are recorded but have not left their outbox."""
        return sum(self.number(name, "SELECT count(*) FROM skerry_outbox") for name in self._system.services)

    def unhandled(self) -> int:
        """Events that a subscriber has no receipt for."""
        events = self.events()
        missing = 0
        for name, service in self._system.services.items():
            due = {identifier for identifier, kind in events.items() if kind in service.subscribes}
            sql = "SELECT key FROM skerry_receipts WHERE scope LIKE 'inbox:%'"
            missing += len(due - {row[0] for row in self.rows(name, sql)}) if due else 0
        return missing

    def emails(self) -> Iterator[str]:
        """The orders an e-mail was written for, one entry per file."""
        folder = self._data / "notification" / "email"
        return (file.stem for file in folder.glob("*.txt")) if folder.is_dir() else iter(())


def _query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql).fetchall()
