"""`Documents`: a collection of typed documents with an optimistic version check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from skerry.errors import ConfigurationError, InvalidDocument, InvalidQuery, StoreError
from skerry.store.documents import body
from skerry.store.documents.port import Change, Collection, DocumentStore, Row
from skerry.store.documents.query import MAX_LIMIT, MAX_VALUE, Cursor, Index, Query, Sort, Where, conditions, is_field
from skerry.store.documents.sql import SQLCollection
from skerry.store.port import Database

D = TypeVar("D")

MAX_INDEXES: Final = 20
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Stored(Generic[D]):
    """A document as it was read. `version` is what `replace` and `delete` want back."""

    id: str
    version: int
    body: D


@dataclass(frozen=True, slots=True)
class Page(Generic[D]):
    """A part of an answer. `next` is what `find` takes as `after` to go on; None when this was the last."""

    documents: list[Stored[D]]
    next: str | None


class Documents(Generic[D]):
    """The collection `name` in a service's database, on SQLite, PostgreSQL or MongoDB.

    `model` is a class of pydantic's, or `dict`; `key` names the field of a document that holds its id, a text. Raises
    `ConfigurationError` for a name, key, model or index that cannot be.

        products = service.documents("products", Product, key="sku", indexes=[Index("price.amount")])

        async with service.transaction() as tx:
            await products.replace(tx, lamp, version=stored.version)
            await service.outbox.record(tx, ProductPriced(...))

    A document has at most 1 MiB as JSON and 64 levels. Refused on every engine, with `InvalidDocument`, is what one of them
    cannot hold: NaN, numbers beyond 64 bits, NUL, lone surrogates, names that are empty, hold a dot or begin with `$`.
    On MongoDB a unit of work changes one document, and a conflict may be raised at its end instead of by the call.
    """

    def __init__(
        self,
        store: Database | DocumentStore,
        name: str,
        model: type[D],
        *,
        key: str = "id",
        indexes: Sequence[Index] = (),
    ) -> None:
        if not _NAME.fullmatch(name) or name.startswith("skerry_"):
            raise ConfigurationError(
                f"{name!r} cannot name a collection: use lower case letters, digits and _, at most 31, not skerry_..."
            )
        if not is_field(key) or "." in key:
            raise ConfigurationError(f"{name}: {key!r} cannot be the field that holds the id: use one name")
        fields = [index.field for index in indexes]
        if len(set(fields)) < len(fields) or key in fields or len(fields) > MAX_INDEXES:
            raise ConfigurationError(
                f"{name}: one index a field, at most {MAX_INDEXES}, and none on {key!r}, which has its own"
            )
        if model is not dict and not callable(getattr(model, "model_validate_json", None)):
            raise ConfigurationError(f"{name}: documents are of a pydantic model or dict, not {model.__name__}")
        self.name = name
        self._model = model
        self._key = key
        self._indexes = tuple(indexes)
        self._collection: Collection = (
            store.collection(name, key=key, indexes=indexes)
            if isinstance(store, DocumentStore)
            else SQLCollection(store, name, key=key, indexes=indexes)
        )

    async def prepare(self) -> None:
        """Make the table and the indexes that are not there yet. A service does this at its start.

        An index that is no longer declared stays; drop it by hand. While one is made on a large table, writers wait.
        """
        await self._collection.prepare()

    async def get(self, identifier: str, *, tx: object | None = None) -> Stored[D] | None:
        """One document, or None: as it is committed, or as the unit of work `tx` sees it.

        Raises `StoreError` when what is stored does not fit the model.
        """
        if not isinstance(identifier, str) or not body.is_text(identifier):
            return None  # nothing can have such an id
        row = await self._collection.get(identifier, tx)
        return None if row is None else self._stored(row)

    async def insert(self, tx: object, document: D) -> int:
        """Add a new document, in the caller's unit of work; its version, 1. Raises `VersionConflict` when its id is taken."""
        identifier, text = self._dumped(document)
        await self._collection.change(tx, Change("insert", identifier, text))
        return 1

    async def replace(self, tx: object, document: D, *, version: int) -> int:
        """Change a document that is still in `version`; its new version.

        Raises `VersionConflict` when somebody else has changed or deleted it: read it again and decide anew.
        """
        identifier, text = self._dumped(document)
        await self._collection.change(tx, Change("replace", identifier, text, version))
        return version + 1

    async def put(self, tx: object, document: D) -> None:
        """Add or change a document whatever is there: the last one to write wins."""
        identifier, text = self._dumped(document)
        await self._collection.change(tx, Change("put", identifier, text))

    async def delete(self, tx: object, identifier: str, *, version: int | None = None) -> bool:
        """Delete a document; False when there is none.

        With a `version` it raises `VersionConflict` unless the document is there in that one. A document that is made anew
        begins with version 1 again.
        """
        body.checked_id(identifier, self.name)
        return await self._collection.change(tx, Change("delete", identifier, version=version))

    async def find(self, *where: Where, sort: str = "", limit: int = 100, after: str | None = None) -> Page[D]:
        """What is committed and meets all conditions, at most `limit` (1 to 1,000) documents.

        `sort` is a field, or `-field` for the other way round, and leaves out documents that have neither a number nor a text
        there; numbers come before texts, and the id decides between equals. Without it the order is that of the ids. `after`
        is the `next` of a page in the same order: it names a place, so no document comes twice or is skipped because others
        were added or deleted meanwhile. Raises `InvalidQuery`.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise InvalidQuery(f"limit: use a whole number from 1 to {MAX_LIMIT}")
        order = Sort.parse(sort, key=self._key)
        cursor = None if after is None else Cursor.parse(after, order)
        rows = await self._collection.find(Query(conditions(where), order, limit + 1, cursor))
        found = [self._stored(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(found, None)
        last = rows[limit - 1]
        value = body.at(body.load(last.text), order.field) if order.field else None
        if isinstance(value, str) and len(value.encode()) > MAX_VALUE:
            raise InvalidQuery(
                f"sort: {self.name} {last.id!r} holds more than {MAX_VALUE} bytes in {order.field!r}, too much for a cursor"
            )
        return Page(found, Cursor(last.id, value).encode(order))

    async def count(self, *where: Where) -> int:
        """How many documents meet all conditions. Without an index for them every document is looked at."""
        return await self._collection.count(conditions(where))

    def _dumped(self, document: D) -> tuple[str, str]:
        if not isinstance(document, self._model):
            raise InvalidDocument(
                f"{self.name}: the document is a {type(document).__name__}, not a {self._model.__name__}"
            )
        plain: Any = document
        if self._model is not dict:
            try:
                plain = plain.model_dump(mode="json", by_alias=True)
            except ValueError as error:  # such as a lone surrogate, or bytes that are no text
                raise InvalidDocument(f"{self.name}: the document cannot be JSON ({type(error).__name__})") from None
        text = body.dump(plain, self.name)
        for index in self._indexes:
            self._demand_indexable(index, body.at(plain, index.field))
        return body.checked_id(plain.get(self._key), f"{self.name}: {self._key}"), text

    def _demand_indexable(self, index: Index, value: Any) -> None:
        """An engine's own limits, and its own idea of what is equal, must not show."""
        if isinstance(value, str):
            if len(value.encode()) > MAX_VALUE:
                raise InvalidDocument(
                    f"{self.name}: {index.field}: a field with an index has at most {MAX_VALUE} bytes"
                )
        elif index.unique and value is not None:
            raise InvalidDocument(
                f"{self.name}: {index.field}: a field with a unique index holds a text or nothing, not a {type(value).__name__}"
            )

    def _stored(self, row: Row) -> Stored[D]:
        try:
            if self._model is dict:
                return Stored(row.id, row.version, body.load(row.text))
            model: Any = self._model
            return Stored(row.id, row.version, cast("D", model.model_validate_json(row.text)))
        except ValueError as error:  # pydantic's is one; its text may hold the document
            raise StoreError(
                f"{self.name}: the document {row.id!r} does not fit {self._model.__name__}{_first(error)}"
            ) from None


def _first(error: ValueError) -> str:
    """Where it does not fit, without what stands there."""
    errors: Any = getattr(error, "errors", None)
    if errors is None:
        return ""
    first = errors(include_input=False, include_url=False, include_context=False)[0]
    where = first["loc"][0] if first["loc"] else "the whole"  # what comes deeper may be a name out of the document
    return f": {where}: {first['type']}"
