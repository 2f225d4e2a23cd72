"""A service's own database: transactions, migrations, receipts.

The embedded engine is one SQLite file per service, in WAL mode with full synchronisation; PostgreSQL is chosen by URL. On
either, a commit that returned survives the loss of the process and of power. `Transaction` is the unit of work: state,
outbox rows, receipts and saga starts that are written through it commit together or not at all.
"""

from __future__ import annotations

from skerry.store.engines import connect
from skerry.store.migrations import Schema, SchemaStatus, demand_schema, migrate, schema_status
from skerry.store.port import Database, Holding, Lease, OpenDatabase, Share, Transaction
from skerry.store.queries import Dialect, Queries, Statement
from skerry.store.receipts import PRUNE_BATCH, RETENTION, Receipt, Receipts
from skerry.store.sqlfiles import Migration, Phase
from skerry.store.sqlite import SQLiteDatabase, SQLiteTransaction
from skerry.store.tx import SyncTx, Tx, adapt, adapt_sync
from skerry.store.url import resolve

__all__ = [
    "PRUNE_BATCH",
    "RETENTION",
    "Database",
    "Dialect",
    "Holding",
    "Lease",
    "Migration",
    "OpenDatabase",
    "Phase",
    "Queries",
    "Receipt",
    "Receipts",
    "SQLiteDatabase",
    "SQLiteTransaction",
    "Schema",
    "SchemaStatus",
    "Share",
    "Statement",
    "SyncTx",
    "Transaction",
    "Tx",
    "adapt",
    "adapt_sync",
    "connect",
    "demand_schema",
    "migrate",
    "resolve",
    "schema_status",
]
