"""What skerry asks of an analytics engine, and what a caller may not assume.

An append that raised may still have taken effect. Facts are seen by queries once `append` has returned, not before; queries do
not see each other's moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from skerry.store.analytics.facts import FactTable


class Analytics(Protocol):
    """The facts of the service `owner`.

    facts.declare(sales)
    await facts.append(sales, [{"order_id": "o-1", "sku": "LAMP-1", "day": date(2026, 1, 1), "amount": 3950}])
    await facts.query("SELECT sku, sum(amount) AS amount FROM {sales} WHERE day >= ? GROUP BY sku", (date(2026, 1, 1),))
    """

    owner: str

    def declare(self, *tables: FactTable) -> None:
        """Say which tables there are; they are made at the first connection. Raises `ConfigurationError` for a name taken."""
        ...

    async def open(self) -> None:
        """Connect, check whose it is, make the tables. Every other call does that by itself where it was not done.

        Raises `WrongOwner` when it belongs to another service, `StoreUnavailable` when the engine cannot be reached,
        `StoreError` when a table is there in another shape.
        """
        ...

    async def close(self) -> None:
        """Wait for what runs, then close. Safe to call twice."""
        ...

    async def append(self, table: FactTable, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add facts; returns when they are on disk. One that is there already, by the table's key, is replaced.

        Raises `InvalidFact`, and adds none, when one does not fit. All other trouble is a `StoreError`: no row is to blame,
        and trying again later is right.
        """
        ...

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a query; each row by the names of its columns, at most 100,000 rows. `{sales}` stands for a declared table in
        which each fact counts once; `?` or `?1` for a parameter, which is never part of the text.

        Raises `QueryRejected` when the engine does not take it, `StoreBusy` and `StoreUnavailable` when it cannot now.
        """
        ...
