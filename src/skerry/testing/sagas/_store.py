"""The journal's database in a simulation: SQLite in memory, which outlives the workers that are killed.

Its statements are the real ones. What differs is where trouble comes from: each commit of a worker's is a point at which it
can die, be stopped, or be told something else than what happened.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from skerry.clock import Clock
from skerry.errors import LeaseLost, StoreError
from skerry.saga.journal import SQL, Journal
from skerry.store import Dialect
from skerry.store.placeholders import translate, translate_many
from skerry.store.tx import Parameters

_TOLD: Final = {
    str(SQL["start_many"]): "start",
    str(SQL["append_many"]): "append",
    str(SQL["change_many"]): "change",
    str(SQL["ask_back"]): "turn back",
}
"""The statements of an engine; those of an operator are no points."""


class Process(Protocol):
    """The worker whose connection it is."""

    alive: bool

    def meets(self, words: list[str], ends: bool) -> str:
        """What becomes of a commit that writes this, and whether that ends the saga; empty when all goes well."""
        ...

    async def halt(self, fate: str) -> None:
        """Stand still, for ever or until another worker has been at work."""
        ...


class MemoryStore:
    """What the database holds. `version` grows with each commit, `epoch` with each holder of the lead."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.version = 0
        self.epoch = 0
        self.leader: MemoryDatabase | None = None
        for migration in sorted(Journal.schema.folder.joinpath("sqlite").iterdir(), key=lambda file: file.name):
            self.connection.executescript(migration.read_text())
        self._tables = [
            row[0] for row in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        self._state: tuple[int, object] = (-1, None)

    def clear(self) -> None:
        """As before the first execution."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the schema itself
        self.version = self.epoch = 0
        self.leader = None
        self._state = (-1, None)

    def close(self) -> None:
        """Nothing of it is left."""
        self.connection.close()

    def state(self) -> object:
        """All that is committed, but for ids and times."""
        if self._state[0] != self.version:
            found = [
                [tuple(row) for row in self.connection.execute(query)]
                for query in (
                    "SELECT substr(key, length(parent) + 1), steps, status, reason, due_at IS NULL FROM skerry_sagas ORDER BY id",
                    "SELECT step FROM skerry_saga_waits ORDER BY saga_id, step",
                    "SELECT key, signal FROM skerry_saga_signals ORDER BY key, signal",
                    "SELECT step, what, result FROM skerry_saga_log ORDER BY saga_id, step, what",
                    "SELECT s.name, act, step FROM skerry_saga_acts a JOIN skerry_sagas s ON s.id = a.saga_id ORDER BY a.id",
                )
            ]
            self._state = (self.version, found)
        return self._state[1]


class MemoryDatabase:
    """One worker's connection: an `OpenDatabase`, which is all that the engine needs."""

    dialect: Dialect = "sqlite"

    def __init__(self, store: MemoryStore, process: Process, *, clock: Clock) -> None:
        self.store = store
        self.owner = "simulated"
        self.clock = clock
        self._process = process

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """See `Database.transaction`."""
        async with self.unit_of_work(lambda: True) as tx:
            yield tx

    @asynccontextmanager
    async def unit_of_work(self, holds: Callable[[], bool]) -> AsyncIterator[MemoryTransaction]:
        """A transaction that is committed only when `holds` says so at its end."""
        connection = self.store.connection
        self._demand_alive()
        connection.execute("BEGIN")
        tx = MemoryTransaction(connection)
        try:
            yield tx
        except BaseException:
            self._roll_back()
            raise
        words, ends = tx.words()
        fate = self._process.meets(words, ends) if words else ""
        if fate in {"crash", "pause", "halt"}:
            self._roll_back()
            await self._process.halt(fate)
        if fate == "pause" or not holds():
            self._roll_back()
            raise LeaseLost("simulated: another worker leads")
        if fate == "fails":
            self._roll_back()
            raise StoreError("simulated: the disk is full")
        connection.execute("COMMIT")
        self.store.version += 1
        if fate == "unclear":
            raise StoreError("simulated: the connection is lost in the middle of the commit")
        if fate == "crash after":
            await self._process.halt("crash")
        for callback in tx.callbacks:
            callback()

    def _roll_back(self) -> None:
        if self.store.connection.in_transaction:
            self.store.connection.execute("ROLLBACK")

    def _demand_alive(self) -> None:
        if not self._process.alive:
            raise StoreError("simulated: this worker is no more")

    def demand_outside(self) -> None:
        """No task here is ever inside."""

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Database.fetch_all`."""
        self._demand_alive()
        return self.store.connection.execute(*translate(sql, parameters, "qmark")).fetchall()

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """See `Database.fetch_one`."""
        self._demand_alive()
        return self.store.connection.execute(*translate(sql, parameters, "qmark")).fetchone()

    @asynccontextmanager
    async def lead(self, role: str, *, poll: float = 0.25) -> AsyncIterator[MemoryLease]:  # noqa: ARG002 - there is one
        """See `Database.lead`; whoever is stopped or killed has lost it when another one asks."""
        while self.store.leader is not None:
            await self.clock.sleep(poll)
        self.store.leader = self
        self.store.epoch += 1
        try:
            yield MemoryLease(self, self.store.epoch)
        finally:
            self.leave()

    def leave(self) -> None:
        """Lead no longer."""
        if self.store.leader is self:
            self.store.leader = None

    def ring(self, name: str) -> None:
        """Nobody listens."""

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """Nobody rings."""


class MemoryLease:
    """See `Lease`. The epoch is compared as the commit is made."""

    def __init__(self, database: MemoryDatabase, epoch: int) -> None:
        self._database = database
        self.epoch = epoch

    def holds(self) -> bool:
        """Whether nobody has led since."""
        return self.epoch == self._database.store.epoch

    def check(self) -> None:
        """See `Lease.check`."""
        if not self.holds():
            raise LeaseLost("simulated: another worker leads")

    async def fence(self, tx: object) -> None:  # noqa: ARG002 - the port's signature
        """See `Lease.fence`."""
        self.check()

    @asynccontextmanager
    async def transaction(self, ask: str = "", parameters: Parameters = ()) -> AsyncIterator[MemoryTransaction]:
        """See `Lease.transaction`."""
        async with self._database.unit_of_work(self.holds) as tx:
            tx.found = len(await tx.fetch_all(ask, parameters)) if ask else 0
            yield tx


class MemoryTransaction:
    """See `Transaction`."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._written: list[tuple[str, list[Any]]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.is_open = True
        self.found = 0

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `Transaction.execute`."""
        self._note(sql, [parameters])
        return self._connection.execute(*translate(sql, parameters, "qmark")).rowcount

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """See `Transaction.execute_many`."""
        text, values = translate_many(sql, rows, "qmark")
        self._note(sql, values)
        self._connection.executemany(text, values)

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Transaction.fetch_all`."""
        self._note(sql, [parameters])
        return self._connection.execute(*translate(sql, parameters, "qmark")).fetchall()

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """See `Transaction.fetch_one`."""
        return self._connection.execute(*translate(sql, parameters, "qmark")).fetchone()

    async def lock(self, name: str) -> None:
        """Nothing to do: whoever is in here is alone."""

    def later(self, sql: str, parameters: Parameters = ()) -> None:
        """See `Transaction.later`; it goes at once."""
        self._note(sql, [parameters])
        self._connection.execute(*translate(sql, parameters, "qmark"))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """See `Transaction.savepoint`."""
        self._connection.execute("SAVEPOINT simulated")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO simulated")
            raise
        finally:
            self._connection.execute("RELEASE simulated")

    def on_commit(self, callback: Callable[[], None]) -> None:
        """See `Tx.on_commit`."""
        self.callbacks.append(callback)

    def words(self) -> tuple[list[str], bool]:
        """What an engine writes here, and whether a saga ends with it."""
        words, ends = [], False
        for kind, rows in self._written:
            if kind == "append":
                words += [f"{step} {what}" for _, step, what, _ in json.loads(rows[0][0])]
            elif kind == "change":
                became = [status for _, status, _ in json.loads(rows[0][0])]
                words += became
                ends = ends or not {"completed", "compensated"}.isdisjoint(became)
            else:
                words.append(kind)
        return words, ends

    def _note(self, sql: str, rows: list[Any]) -> None:
        if (kind := _TOLD.get(sql)) is not None:
            self._written.append((kind, rows))
