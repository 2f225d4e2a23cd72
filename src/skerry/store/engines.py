"""Engines by URL."""

from __future__ import annotations

from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.store.port import Database
from skerry.store.sqlite import SQLiteDatabase
from skerry.store.url import resolve


def connect(url: str, *, owner: str, data: Path, clock: Clock = SYSTEM) -> Database:
    """The database behind `url`, for the service `owner`: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Opens nothing. Raises `ConfigurationError` for another scheme, `MissingExtra` when the engine's driver is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme in {"mongodb", "mongodb+srv"}:
        raise ConfigurationError("a mongodb: database has documents and no SQL: see skerry.store.documents.connect")
    if scheme not in {"postgresql", "postgres"}:
        return SQLiteDatabase(resolve(url, data), owner=owner, clock=clock)
    if not url.startswith(f"{scheme}://"):
        raise ConfigurationError("a PostgreSQL address needs a host: postgresql://USER:PASSWORD@HOST:PORT/NAME")
    from skerry.store.postgresql import PostgreSQLDatabase

    return PostgreSQLDatabase(url, owner=owner, clock=clock)
