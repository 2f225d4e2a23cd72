"""MongoDB: a service's own database of documents. A stand-alone server is enough: nothing here spans two documents.

What a unit of work has written is journalled, and on a replica set in the majority, when it returns; what is handed over was
read that way too.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from skerry.errors import MissingExtra

try:
    import pymongo.errors
    from bson.errors import BSONError
    from pymongo import AsyncMongoClient, ReadPreference
    from pymongo.read_concern import ReadConcern
    from pymongo.write_concern import WriteConcern
except ImportError as _error:
    raise MissingExtra("MongoDB", "mongo") from _error

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, InvalidDocument, StoreBusy, StoreError, WrongOwner
from skerry.store.documents.mongo_collection import ATTEMPTS, MongoCollection, write
from skerry.store.documents.mongo_lease import MongoLease
from skerry.store.documents.mongo_records import Record, entries, handed_over
from skerry.store.documents.mongo_unit import MongoTransaction, no_sql
from skerry.store.documents.port import Entry
from skerry.store.documents.query import Index
from skerry.store.leases import held
from skerry.store.patience import cancellable

POOL: Final = 20
TIMEOUT: Final = 10.0
"""Seconds that one question may take, waiting for a connection and for a server included."""
MAX_DATABASES: Final = 200
TOGETHER_BYTES: Final = 8 * 1024 * 1024
"""Of events that are read at a time to be handed over."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_OURS: Final = "skerry_"
_CARRYING: Final = {"since": {"$gt": 0}, "pending": {"$gt": 0}}
"""What waits to be handed over. That it waits since some time is said for the index's sake."""
_BUSY: Final = (pymongo.errors.WaitQueueTimeoutError,)
_REFUSED: Final = (13, 18, 8000)
"""Codes of a server that refuses: unauthorized, authentication failed, and Atlas' own for it."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """The events of one document that are not handed over yet, in their order."""

    collection: str
    record: Record
    entries: tuple[Entry, ...]


class MongoDatabase:
    """The MongoDB database of the service `owner`, see `DocumentStore`: `mongodb://USER:PASSWORD@HOST:PORT/NAME`.

    Options of the address go to the driver and win over ours: at most 20 connections, 10 seconds for a question. A `client`
    of your own, such as one with a TLS context, is used and closed in place of one for `url`.

        async with database.transaction() as tx:
            await products.replace(tx, lamp, version=3)
    """

    def __init__(self, url: str, *, owner: str, clock: Clock = SYSTEM, client: Any = None) -> None:
        self.owner = owner
        self.clock = clock
        where, name, options = _read(url)
        self.where: str = where
        self._name: str = name
        self._options: dict[str, Any] = options
        self._url = url
        self._given = client
        self._client: Any = None
        self._documents: Any = None
        self._bells: dict[str, Callable[[], None]] = {}

    async def open(self) -> None:
        """Connect and check. Raises `StoreError`, and `WrongOwner` when it belongs to another service, or when the same
        credentials open the database of another one: then nothing but good will keeps the two apart.
        """
        if self._client is not None:
            return
        with self.translated():
            self._client = self._given if self._given is not None else self._connect()
        try:
            with self.translated():
                hello = await self._client.admin.command("hello")
                several = "setName" in hello or hello.get("msg") == "isdbgrid"
                self._documents = self._client.get_database(
                    self._name,
                    write_concern=WriteConcern("majority" if several else 1, j=True),
                    read_concern=ReadConcern("majority" if several else None),
                    read_preference=ReadPreference.PRIMARY,
                )
                await self._claim()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        client, self._client, self._documents = self._client, None, None
        if client is not None:
            await client.close()

    async def ping(self) -> None:
        """Raise `StoreError` unless the server answers."""
        with self.translated():
            await self._opened().command("ping")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MongoTransaction]:
        """Open a unit of work, which is one change of one document with its events; it is written at the end of the block.

        Nothing is when the block raises or is cancelled. When that happens while it is being written, the write is finished
        first. A write that ends in a `StoreError` may have taken effect.
        """
        self._opened()
        unit = MongoTransaction(self.owner)
        try:
            yield unit
            await unit.commit()
        finally:
            unit.is_open = False

    def collection(self, name: str, *, key: str, indexes: Sequence[Index]) -> MongoCollection:
        """See `DocumentStore`."""
        return MongoCollection(self, name, key=key, indexes=indexes)

    def no_sql(self, what: str = "this") -> ConfigurationError:
        """The error for `what` needs more than one document can promise."""
        return no_sql(self.owner, what)

    def raw(self, name: str) -> Any:
        """The driver's collection of that name."""
        return self._opened()[name]

    # --- what waits to be handed over

    async def register(self, name: str) -> None:
        """Remember that there is a collection of that name, for whoever hands over its events: it may have other code."""
        with contextlib.suppress(pymongo.errors.DuplicateKeyError):
            await self.raw(f"{_OURS}collections").insert_one({"_id": name})

    async def unsent(self, limit: int) -> list[Unsent]:
        """At most `limit` events, of the documents that have waited longest. Those of one document are in their order."""
        found: list[Unsent] = []
        left, room = limit, TOGETHER_BYTES
        with self.translated():
            for name in [each["_id"] async for each in self.raw(f"{_OURS}collections").find({})]:
                cursor = self.raw(name).find(_CARRYING).sort([("since", 1)]).limit(left)
                async for record in cursor:
                    part = tuple(entries(record)[:left])
                    found.append(Unsent(name, record, part))
                    left -= len(part)
                    room -= sum(len(entry.body) for entry in part)
                    if left <= 0 or room <= 0:
                        await cursor.close()
                        return found
        return found

    async def handed_over(self, unsent: Unsent) -> None:
        """Take out the events that the broker has, and nothing that was added meanwhile."""
        ids = {entry.id for entry in unsent.entries}
        record: Record | None = unsent.record
        with self.translated():
            for _ in range(ATTEMPTS):
                if record is None or not ids & {each["id"] for each in record["outbox"]}:
                    return  # another one has, which has published them too
                if await write(self.raw(unsent.collection), record, handed_over(record, ids)):
                    return
                record = await self.raw(unsent.collection).find_one({"_id": unsent.record["_id"]})
        raise StoreBusy(f"{unsent.collection}: a document is changed all the time; its events stay for the next look")

    async def waiting(self) -> int:
        """How many events are committed but not handed over."""
        sums = [{"$match": _CARRYING}, {"$group": {"_id": None, "waiting": {"$sum": "$pending"}}}]
        count = 0
        with self.translated():
            for name in [each["_id"] async for each in self.raw(f"{_OURS}collections").find({})]:
                async for total in await self.raw(name).aggregate(sums):
                    count += total["waiting"]
        return count

    # --- roles and hints

    @asynccontextmanager
    async def lead(self, role: str, *, poll: float = 0.25) -> AsyncIterator[MongoLease]:
        """See `Database.lead`: a lease in a document, see `mongo_lease`."""
        lease = MongoLease(role, self.raw(f"{_OURS}leases"), self.clock)
        async with held(lease, self.translated, poll=poll, clock=self.clock):
            yield lease

    def ring(self, name: str) -> None:
        """See `Database.ring`; other processes find out at their next look."""
        if (callback := self._bells.get(name)) is not None:
            callback()

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """See `Database.on_ring`."""
        self._bells[name] = callback

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's trouble into ours. Its texts may hold addresses and documents, so they go no further."""
        try:
            with cancellable():
                yield
        except (pymongo.errors.PyMongoError, BSONError) as error:
            raise self._translate(error) from None

    def _translate(self, error: Exception) -> Exception:
        what = type(error).__name__
        if isinstance(error, pymongo.errors.DocumentTooLarge):
            return InvalidDocument(f"{self.where}: a document with its events is larger than MongoDB takes")
        if isinstance(error, pymongo.errors.ConfigurationError | pymongo.errors.InvalidURI):
            return self._wrong(what)
        if isinstance(error, _BUSY):
            return StoreBusy(f"{self.where}: no connection was free in time; try again")
        code = getattr(error, "code", None)
        if code in _REFUSED:
            return StoreError(
                f"{self.where}: the server refuses {self.owner!r} ({what}); check name, password and rights"
            )
        return StoreError(f"{self.where}: {what}" + (f" {code}" if code else ""))

    def _connect(self) -> Any:
        """A new client, which asks nothing yet. The driver only warns of an option that it does not take."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                return AsyncMongoClient(self._url, **self._options)
            except (UserWarning, OSError) as error:  # the latter for a file that the address names
                raise self._wrong(type(error).__name__) from None

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the MongoDB address of {self.owner!r} has an option that the driver does not take ({what}); "
            "see the options of pymongo.AsyncMongoClient"
        )

    def _opened(self) -> Any:
        if self._documents is None:
            raise StoreError(f"the database of {self.owner} is not open")
        return self._documents

    async def _claim(self) -> None:
        """Put the owner's name into the database, so that a second service cannot share it by mistake."""
        owners = self.raw(f"{_OURS}owner")
        with contextlib.suppress(pymongo.errors.DuplicateKeyError):
            await owners.insert_one({"_id": "owner", "name": self.owner})
        name = (await owners.find_one({"_id": "owner"}))["name"]
        if name != self.owner:
            raise WrongOwner(f"{self.where} belongs to the service {name!r}; give {self.owner!r} a database of its own")
        for other in await self._others():
            with contextlib.suppress(pymongo.errors.PyMongoError):  # what cannot be read is not shared
                found = await self._client[other][f"{_OURS}owner"].find_one({"_id": "owner"})
                if found is not None and found["name"] != self.owner:
                    raise WrongOwner(
                        f"the credentials of {self.owner!r} also open {other!r}, the database of the service "
                        f"{found['name']!r}; give each service a user of its own"
                    )

    async def _others(self) -> Collection[str]:
        try:
            names = await self._client.list_database_names()
        except pymongo.errors.OperationFailure:  # it may not even ask
            return ()
        return [name for name in sorted(names) if name not in {self._name, "admin", "config", "local"}][:MAX_DATABASES]


def _read(url: str) -> tuple[str, str, dict[str, Any]]:
    """Where it is, what it is called there, and the options that the address leaves to us."""
    shape = "mongodb://USER:PASSWORD@HOST:PORT/NAME"
    try:
        parts = urlsplit(url)
        names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError:
        raise ConfigurationError(f"a MongoDB address cannot be read; use {shape}") from None
    name = unquote(parts.path.removeprefix("/"))
    hosts = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"mongodb", "mongodb+srv"} or not hosts or not _NAME.fullmatch(name):
        raise ConfigurationError(f"a MongoDB address names a host and a database: {shape}")
    options: dict[str, Any] = {
        "appname": "skerry",
        "maxPoolSize": POOL,
        "timeoutMS": int(TIMEOUT * 1000),
        "serverSelectionTimeoutMS": int(TIMEOUT * 500),
        "connectTimeoutMS": int(TIMEOUT * 500),
    }
    return f"{hosts}/{name}", name, {key: value for key, value in options.items() if key.lower() not in names}
