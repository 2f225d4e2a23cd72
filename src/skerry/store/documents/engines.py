"""Which database keeps the documents of a service, by URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skerry.clock import SYSTEM, Clock
from skerry.store import engines
from skerry.store.port import Database

if TYPE_CHECKING:
    from skerry.store.documents.mongodb import MongoDatabase


def is_mongo(url: str) -> bool:
    """Whether the address is MongoDB's."""
    return url.partition(":")[0] in {"mongodb", "mongodb+srv"}


def connect(url: str, *, owner: str, data: Path, clock: Clock = SYSTEM) -> Database | MongoDatabase:
    """The database behind `url`, for the service `owner`: what `skerry.store.connect` takes, or `mongodb://HOST/NAME`.

    Opens nothing. Raises `ConfigurationError` for an address that cannot be, `MissingExtra` without the engine's driver.
    """
    if not is_mongo(url):
        return engines.connect(url, owner=owner, data=data, clock=clock)
    from skerry.store.documents.mongodb import MongoDatabase

    return MongoDatabase(url, owner=owner, clock=clock)
