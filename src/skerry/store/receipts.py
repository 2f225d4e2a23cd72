"""Receipts: the one mechanism for "only once".

A receipt is a row `(scope, key) -> state, result` written in the transaction of the effect it guards. Inbox, saga
participants and idempotent endpoints are three uses of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import ReceiptConflict
from skerry.store.migrations import Schema, migrate
from skerry.store.port import Database, Transaction
from skerry.store.queries import Queries
from skerry.store.tx import Tx

RETENTION = 30 * 86400.0
"""Seconds a receipt is kept. What is known to be older than that is refused, never accepted again."""

PRUNE_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known about a key. `fingerprint` identifies the input; `result` is what was answered."""

    scope: str
    key: str
    state: str
    fingerprint: str
    result: str | None


class Receipts:
    """Receipts in a service's own database. Each method takes the caller's transaction and stays inside it."""

    schema: ClassVar[Schema] = Schema("skerry.store", files("skerry.store").joinpath("sql/migrations"))

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._sql = Queries("skerry.store", "sql/receipts.sql")

    @staticmethod
    async def prepare(database: Database) -> None:
        """Create the table in `database`."""
        await migrate(database, Receipts.schema.component, Receipts.schema.folder)

    async def find(self, tx: Tx, scope: str, key: str, *, fingerprint: str | None = None) -> Receipt | None:
        """The receipt for a key, or None. Raises `ReceiptConflict` when it was written for another input."""
        rows = await tx.fetch_all(self._sql["find"], (scope, key))
        if not rows:
            return None
        receipt = Receipt(*rows[0])
        if fingerprint is not None and receipt.fingerprint != fingerprint:
            raise ReceiptConflict(f"the key {key!r} was used before with another input")
        return receipt

    async def insert(
        self, tx: Tx, scope: str, key: str, state: str, *, fingerprint: str = "", result: str | None = None
    ) -> bool:
        """Write a receipt; False when the key has one already, which then stays as it is."""
        expires = self._clock.now() + RETENTION
        return await tx.execute(self._sql["insert"], (scope, key, state, fingerprint, result, expires)) == 1

    def insert_later(self, tx: Transaction, scope: str, keys: Collection[str], state: str) -> None:
        """Write a receipt for each of `keys`, of which none has one: anything else is the database's error, later."""
        expires = self._clock.now() + RETENTION
        if len(keys) > 1 and tx.dialect == "postgresql":
            tx.later(self._sql["insert_new_ones"], (scope, state, expires, json.dumps(list(keys))))
            return
        for key in keys:
            tx.later(self._sql["insert_new"], (scope, key, state, "", None, expires))

    async def update(self, tx: Tx, scope: str, key: str, state: str, *, result: str | None = None) -> None:
        """Give an existing receipt another state."""
        await tx.execute(self._sql["update"], (state, result, scope, key))

    async def delete(self, tx: Tx, scope: str, key: str, *, fingerprint: str) -> bool:
        """Forget a receipt that was written for this input; whether there was one."""
        return await tx.execute(self._sql["delete"], (scope, key, fingerprint)) == 1

    async def prune(self, tx: Tx) -> int:
        """Delete at most 1,000 receipts past their retention; how many it were."""
        return await tx.execute(self._sql["prune"], (self._clock.now(), PRUNE_BATCH))
