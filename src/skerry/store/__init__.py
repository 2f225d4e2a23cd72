"""A service's own database: transactions, migrations, receipts.

The embedded engine is one SQLite file per service, in WAL mode with full synchronisation: a commit that returned survives
the loss of the process and of power. `Transaction` is the unit of work: state, outbox rows, receipts and saga starts that
are written through it commit together or not at all.
"""

from __future__ import annotations

from skerry.store.migrations import migrate
from skerry.store.queries import Queries
from skerry.store.receipts import PRUNE_BATCH, RETENTION, Receipt, Receipts
from skerry.store.sqlite import Database, Transaction
from skerry.store.tx import SyncTx, Tx, adapt, adapt_sync
from skerry.store.url import resolve

__all__ = [
    "PRUNE_BATCH",
    "RETENTION",
    "Database",
    "Queries",
    "Receipt",
    "Receipts",
    "SyncTx",
    "Transaction",
    "Tx",
    "adapt",
    "adapt_sync",
    "migrate",
    "resolve",
]
