"""Documents: typed JSON in a service's own database, with a version check and the events of a change in the same commit.

On SQLite (JSON), PostgreSQL (JSONB) and MongoDB, by the address of the database; what may be written and asked is the same.
"""

from __future__ import annotations

from skerry.store.documents.engines import connect, is_mongo
from skerry.store.documents.port import Carrier, Collection, DocumentStore, Entry
from skerry.store.documents.query import Index, Where
from skerry.store.documents.repository import Documents, Page, Stored

__all__ = [
    "Carrier",
    "Collection",
    "DocumentStore",
    "Documents",
    "Entry",
    "Index",
    "Page",
    "Stored",
    "Where",
    "connect",
    "is_mongo",
]
