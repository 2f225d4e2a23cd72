"""An analytics engine that speaks ClickHouse, however it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from skerry.errors import ConfigurationError, StoreBusy, StoreError, WrongOwner
from skerry.store.analytics import dialect
from skerry.store.analytics.facts import FactTable
from skerry.store.analytics.threads import Threads


class Link(Protocol):
    """The way to an engine. Its methods block, and are called in at most `threads` threads at a time.

    They raise `StoreUnavailable` when the engine cannot be reached, and what `dialect.refusal` makes of its words.
    """

    where: str
    """For messages: never with a password."""
    threads: int

    def connect(self) -> None:
        """Connect anew; what was connected before is let go."""
        ...

    def close(self) -> None:
        """Let go. Safe to call twice."""
        ...

    def command(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        ...

    def query(self, sql: str, parameters: Mapping[str, str]) -> bytes:
        """The answer in JSONCompact."""
        ...

    def insert(self, sql: str, rows: str) -> None:
        """Insert tab-separated rows; returns when they are on disk."""
        ...


class ClickHouse:
    """See `Analytics`. After trouble the next call connects anew, and finds the tables again or makes them."""

    def __init__(self, link: Link, *, owner: str) -> None:
        self.owner = owner
        self._link = link
        self._threads = Threads(f"{owner}-analytics", link.threads)
        self._tables: dict[str, FactTable] = {}
        self._opening: asyncio.Task[None] | None = None
        self._connected = False
        self._closed = False

    def declare(self, *tables: FactTable) -> None:
        """See `Analytics.declare`."""
        for table in tables:
            if self._tables.setdefault(table.name, table) != table:
                raise ConfigurationError(f"there is another fact table {table.name!r}")
        self._connected = False

    async def open(self) -> None:
        """See `Analytics.open`."""
        if self._closed:
            raise StoreError(f"{self._link.where} is closed")
        if self._connected:
            return
        if self._opening is None or self._opening.done():
            # its own task: a caller who leaves must not leave a second connection beside the first
            self._opening = asyncio.create_task(self._connect(), name=f"{self.owner}-analytics")
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._opening)

    async def close(self) -> None:
        """See `Analytics.close`."""
        if self._closed:
            return
        self._closed = True
        self._connected = False
        if self._opening is not None:
            await asyncio.wait({self._opening})
        await asyncio.shield(self._threads.run(self._link.close))
        self._threads.close()

    async def append(self, table: FactTable, rows: Iterable[Mapping[str, Any]]) -> None:
        """See `Analytics.append`."""
        if self._tables.get(table.name) != table:
            raise ConfigurationError(f"the fact table {table.name!r} was not declared")
        if encoded := dialect.encode(table, rows):
            await self._do(lambda: self._link.insert(dialect.insert(table), encoded))

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """See `Analytics.query`."""
        text, values = dialect.bind(sql, parameters, self._tables)
        found: list[dict[str, Any]] = await self._do(lambda: dialect.decode(self._link.query(text, values)))
        return found

    async def _do(self, call: Any) -> Any:
        await self.open()
        try:
            return await self._threads.run(call)
        except StoreBusy:
            raise
        except StoreError:
            self._connected = False
            raise

    async def _connect(self) -> None:
        await self._threads.run(self._prepare)
        self._connected = not self._closed

    def _prepare(self) -> None:
        link = self._link
        link.connect()
        try:
            link.command(dialect.claim(self.owner))
            [owner] = self._answer(dialect.SQL["owner"])
            if owner["name"] != self.owner:
                raise WrongOwner(
                    f"{link.where} belongs to the service {owner['name']!r}; give {self.owner!r} one of its own"
                )
            for table in self._tables.values():
                self._make(table)
        except BaseException:
            link.close()
            raise

    def _make(self, table: FactTable) -> None:
        self._link.command(dialect.create(table))
        columns = self._answer(dialect.SQL["columns"], table.name)
        [there] = self._answer(dialect.SQL["table"], table.name)
        if odd := dialect.difference(table, columns, there["engine"], there["sorting_key"]):
            raise StoreError(
                f"{self._link.where} has a table {table.name} in another shape: {odd}. Give the new shape another name"
            )

    def _answer(self, sql: str, *parameters: str) -> list[dict[str, Any]]:
        return dialect.decode(self._link.query(*dialect.bind(sql, parameters, {})))
