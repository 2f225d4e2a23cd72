"""What skerry asks of a database. An engine is chosen by URL, see `connect`.

`Transaction` is the unit of work: state, outbox rows, receipts and saga starts written through it commit together or not at
all. A transaction is read-committed at least; two that must not run at the same time take the same `lock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from skerry.clock import Clock
from skerry.store.queries import Dialect
from skerry.store.tx import Parameters, Tx


class Transaction(Tx, Protocol):
    """An open unit of work. It is also a `Tx`. Use it only inside the block that opened it."""

    is_open: bool
    found: int
    """How many rows the question had that came with `Lease.transaction`."""

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each row of parameters."""
        ...

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run one query; its first row, or None."""
        ...

    def later(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement before the next one that is awaited, or before the commit, whose error its own then is.

        Many of these go to the engine together, which is several times as quick as one by one.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What the block writes is undone when it raises, while the rest of the transaction stands."""
        ...


class Lease(Protocol):
    """An exclusive role, while it is held."""

    epoch: int
    """Grows with every holder."""

    def check(self) -> None:
        """Raise `LeaseLost` when the role may be somebody else's by now, as far as this process can tell."""
        ...

    async def fence(self, tx: Tx) -> None:
        """Raise `LeaseLost` when the role is somebody else's, as the database sees it inside `tx`."""
        ...

    def transaction(self, ask: str = "", parameters: Parameters = ()) -> AbstractAsyncContextManager[Transaction]:
        """`Database.transaction`, `fence` and the query `ask` in one way to the database and back.

        Of the query's rows there is only `Transaction.found`: as many, or, when there are any, more.
        """
        ...


class Holding(Protocol):
    """The parts of a role that are this process's by now."""

    @property
    def parts(self) -> tuple[int, ...]:
        """Their numbers, from 0."""
        ...

    @property
    def whole(self) -> bool:
        """Whether these are all."""
        ...

    async def settle(self) -> None:
        """Give back what has become another process's. To be called between two pieces of work, never inside one.

        Raises what keeps this process from getting any part.
        """
        ...

    def check(self) -> None:
        """See `Lease.check`."""
        ...


class Share(Holding, Protocol):
    """Parts that are held in a database, which can say at the end of a transaction whose they are."""

    def transaction(self, parts: Iterable[int]) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that raises `LeaseLost` instead of committing when one of `parts` is another process's by then."""
        ...


class OpenDatabase(Protocol):
    """What is asked of a database by those who neither open nor close it, nor share a role in it, such as an engine of sagas."""

    owner: str
    clock: Clock
    dialect: Dialect

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit of work: commits at the end of the block, rolls back when the block raises or is cancelled.

        When cancellation arrives while the commit is under way, the commit is finished first; the transaction may then have
        taken effect although the block ends with `CancelledError`. Raises `NestedTransaction` inside another one of the
        same task, `StoreBusy` when too many wait.
        """
        ...

    def demand_outside(self) -> None:
        """Raise `NestedTransaction` when the running task is in a transaction of this database."""
        ...

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Query outside any transaction: sees what is committed."""
        ...

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Like `fetch_all`; the first row, or None."""
        ...

    def lead(self, role: str, *, poll: float = 0.25) -> AbstractAsyncContextManager[Lease]:
        """Hold `role` exclusively among all processes on this database; wait for it, trying every `poll` seconds.

        It ends with the process, however that ends.
        """
        ...

    def ring(self, name: str) -> None:
        """Hint to whoever listens for `name` on this database, in this process and, where the engine can, in others.

        Returns at once. Hints may be lost, and many within a moment may arrive as one.
        """
        ...

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop at each hint. One callback for a name; a second replaces the first."""
        ...


class Database(OpenDatabase, Protocol):
    """The one database of the service `owner`.

    async with database.transaction() as tx:
        await tx.execute("UPDATE stock SET available = available - ? WHERE sku = ?", (2, sku))
    """

    async def open(self) -> None:
        """Connect and check. Raises `StoreError`, `WrongOwner` when it belongs to another service; then nothing is open."""
        ...

    async def close(self) -> None:
        """Wait for what runs, then close. Safe to call twice."""
        ...

    def share(self, role: str, count: int, *, changed: Callable[[], None]) -> AbstractAsyncContextManager[Share]:
        """Hold a fair share of the `count` parts of `role`, each exclusively, among all processes that ask for it here.

        Which parts these are changes as others come and go; `changed` is called then. All of them end with the process,
        however that ends. Whoever has `lead` of the same role has all of it.
        """
        ...
