"""The shop's books: read from the services' own databases and the event log, never through the services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skerry.events.generations import group_name, table_name
from skerry.topology import System

from .readers import Aside, EventLog, Ledger, MongoLedger, PostgreSQLLedger, Segments, SQLiteLedger, Stream


class Books:
    """Everything an auditor may look at, read-only.

    `databases` and `events` are the addresses of services that keep their data on servers. Everything here blocks for a
    moment, and raises `Unreadable` while a server is down.
    """

    def __init__(
        self, system: System, data: Path, databases: Mapping[str, str] | None = None, events: str | None = None
    ) -> None:
        self._system = system
        self._data = data
        aside = Aside() if databases or events else None
        self._ledgers: dict[str, Ledger] = {name: SQLiteLedger(data / f"{name}.db") for name in system.services}
        self._log: EventLog = Segments(data / "events")
        if aside is not None:
            self._ledgers |= {name: _ledger(url, aside) for name, url in (databases or {}).items()}
        if aside is not None and events:
            self._log = Stream(events, data, list(system.topics), aside)

    def rows(self, service: str, sql: str) -> list[Any]:
        """Query the database of a service."""
        return self._ledgers[service].rows(sql)

    def number(self, service: str, sql: str) -> int:
        """The one number a query gives; none counts as 0."""
        return int(self.rows(service, sql)[0][0] or 0)

    def open_sagas(self) -> int:
        """Sagas that have not ended."""
        sql = "SELECT count(*) FROM skerry_sagas WHERE status IN ('running', 'compensating')"
        return self.number("order", sql)

    def events(self) -> dict[str, str]:
        """Every event in the log: id -> type."""
        return self._log.events()

    def unsent(self) -> int:
        """Events that are recorded but have not left their outbox."""
        return sum(ledger.unsent() for ledger in self._ledgers.values())

    def unhandled(self) -> int:
        """Events that a group of a subscriber has no receipt for. A group handles the types that it has handled some of, all
        of them as long as it has handled none.
        """
        events = self.events()
        missing = 0
        for name, service in self._system.services.items():
            due = {identifier for identifier, kind in events.items() if kind in service.subscribes}
            heard: set[str] = set()
            for handled in self._handled(name).values() if due else ():
                kinds = {events[identifier] for identifier in handled & events.keys()} or set(service.subscribes)
                missing += sum(events[identifier] in kinds for identifier in due - handled)
                heard |= kinds
            missing += sum(events[identifier] not in heard for identifier in due)
        return missing

    def table(self, service: str, projection: str, table: str) -> str:
        """What the table of a projection is called that is read now."""
        sql = f"SELECT version, live, building FROM skerry_projections WHERE name = '{projection}' ORDER BY version"  # noqa: S608
        version, live, building = self.rows(service, sql)[-1]
        return table_name(projection, version, live or building, table)

    def _handled(self, service: str) -> dict[str, set[str]]:
        """The ids of what each group has handled; of a projection only the group whose tables are read."""
        projections = self.rows(service, "SELECT name, version, live, building FROM skerry_projections")
        read = {group_name(row[0], row[1], row[2] or row[3]) for row in projections}
        running = (row[0] for row in self.rows(service, "SELECT consumer FROM skerry_running"))
        groups: dict[str, set[str]] = {g: set() for g in running if g in read or not g.startswith("projection:")}
        for scope, key in self.rows(service, "SELECT scope, key FROM skerry_receipts WHERE scope LIKE 'inbox:%'"):
            group = scope.removeprefix("inbox:")
            if group in read or not group.startswith("projection:"):
                groups.setdefault(group, set()).add(key)
        return groups

    def emails(self) -> Iterator[str]:
        """The orders an e-mail was written for, one entry per file."""
        folder = self._data / "notification" / "email"
        return (file.stem for file in folder.glob("*.txt")) if folder.is_dir() else iter(())


def _ledger(url: str, aside: Aside) -> Ledger:
    return MongoLedger(url) if url.startswith("mongodb") else PostgreSQLLedger(url, aside)
