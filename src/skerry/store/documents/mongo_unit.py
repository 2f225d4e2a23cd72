"""A unit of work on MongoDB: one change of one document, and the events that tell of it, in one write.

That is all that a server promises to do whole without a replica set. So the unit collects, and writes at its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

from skerry.errors import ConfigurationError, NoTransaction
from skerry.store.documents.port import Entry, Row
from skerry.store.queries import Dialect

_log = logging.getLogger("skerry.store")

Write = Callable[[Sequence[Entry]], Awaitable[None]]


class MongoTransaction:
    """See `Transaction`, of which it has what one document can keep. Whatever is SQL raises `ConfigurationError`."""

    def __init__(self, owner: str) -> None:
        self.is_open: bool = True
        self.found: int = 0
        self._owner = owner
        self._changed: tuple[str, str, Row | None] | None = None
        self._write: Write | None = None
        self._entries: list[Entry] = []
        self._callbacks: list[Callable[[], None]] = []

    def change(self, collection: str, identifier: str, after: Row | None, write: Write) -> None:
        """Have `write` called at the end of the unit, with the events to write along; `after` is what it will leave."""
        self._demand_open()
        if self._write is not None:
            raise ConfigurationError(
                f"{self._owner}: on MongoDB a unit of work is one change of one document, and this one has its change; "
                "use another unit, or SQLite or PostgreSQL for what has to change together"
            )
        self._changed, self._write = (collection, identifier, after), write

    def seen(self, collection: str, identifier: str, committed: Row | None) -> Row | None:
        """The document as this unit sees it."""
        self._demand_open()
        if self._changed is None or self._changed[:2] != (collection, identifier):
            return committed
        return self._changed[2]

    def carry(self, entries: Sequence[Entry]) -> None:
        """See `Carrier`."""
        self._demand_open()
        self._entries += entries

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the write is durable; never when it failed."""
        self._demand_open()
        self._callbacks.append(callback)

    async def commit(self) -> None:
        """Write, to the end even when cancelled meanwhile; the cancellation goes on afterwards."""
        self.is_open = False
        if self._write is None:
            if self._entries:
                raise ConfigurationError(
                    f"{self._owner}: events were recorded, but no document was changed that could carry them; "
                    "publish what stands behind no state with `service.bus.publish`"
                )
            return
        job = asyncio.ensure_future(self._write(self._entries))
        cancelled: asyncio.CancelledError | None = None
        while True:  # bounded by the time-out of the client
            try:
                await asyncio.wait({job})
                break
            except asyncio.CancelledError as error:
                cancelled = error
        if job.exception() is None:
            self._committed()
        if cancelled is not None:
            raise cancelled
        job.result()

    def _committed(self) -> None:
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # the write stands: its caller must not take it for a failure
                _log.exception("a callback after a commit failed")

    def _demand_open(self) -> None:
        if not self.is_open:
            raise NoTransaction("the unit of work has ended; use it only inside the block that opened it")

    # --- what `Transaction` has beyond that

    @property
    def dialect(self) -> Dialect:
        """There is none."""
        raise no_sql(self._owner)

    async def execute(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    async def execute_many(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    async def fetch_all(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    async def fetch_one(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    async def lock(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    def later(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)

    def savepoint(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise no_sql(self._owner)


def no_sql(owner: str, what: str = "this") -> ConfigurationError:
    """The error for what needs more than one document can promise."""
    return ConfigurationError(
        f"{what} needs SQL transactions, and the database of {owner!r} is MongoDB, where a unit of work is one change of "
        "one document with its events; give the service a sqlite: or postgresql: database for it"
    )
