"""The documents of one name in MongoDB. How one is kept is in `mongo_records`.

Conditions say twice what they mean: the type of the value, and that nothing on the path is an array. Some servers that speak
MongoDB's protocol compare across types, and MongoDB itself looks into arrays, which no other engine here does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import DuplicateKeyError

from skerry.errors import StoreBusy
from skerry.signals import MigrationApplied, emit
from skerry.store.documents.mongo_records import Record, changed, check, row
from skerry.store.documents.mongo_unit import MongoTransaction
from skerry.store.documents.port import Change, Entry, Row
from skerry.store.documents.query import Index, Query, Scalar, Where
from skerry.store.documents.sql import conflict, duplicate

if TYPE_CHECKING:
    from skerry.store.documents.mongodb import MongoDatabase

ATTEMPTS: Final = 20
"""Writes of one change: another one is needed when the relay, or a writer that asks for no version, came in between."""
_OPERATORS: Final = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_SHOWN: Final = {"live": 1, "version": 1, "document": 1}

Filter = dict[str, Any]


class MongoCollection:
    """See `Collection`."""

    def __init__(self, database: MongoDatabase, name: str, *, key: str, indexes: Sequence[Index]) -> None:
        self.name = name
        self._database = database
        self._key = key
        self._indexes = tuple(indexes)

    async def prepare(self) -> None:
        """See `Collection.prepare`."""
        with self._database.translated():
            await self._database.register(self.name)
            documents = self._documents()
            known = {_told(each) for each in (await documents.index_information()).values()}
            for keys, options in [_OUTBOX, *map(self._declared, self._indexes)]:
                if _told({"key": keys, **options}) not in known:
                    name = hashlib.sha256(f"{keys} {options}".encode()).hexdigest()[:10]
                    try:
                        await documents.create_index(keys, name=f"skerry_{name}", **options)
                    except DuplicateKeyError:
                        raise duplicate(self.name, [keys[0][0].removeprefix("document.")]) from None
                    emit(MigrationApplied(component=self.name, version=keys[0][0]))

    async def get(self, identifier: str, tx: object | None) -> Row | None:
        """See `Collection.get`."""
        with self._database.translated():
            record = await self._documents().find_one({"_id": identifier}, _SHOWN)
        found = row(record)
        return found if tx is None else self._unit(tx).seen(self.name, identifier, found)

    async def change(self, tx: object, change: Change) -> bool:
        """See `Collection.change`. Looks at once, so that most conflicts show here; writes at the end of the unit."""
        unit = self._unit(tx)
        record = await self._record(change.id)
        if not check(record, change, self.name):
            return False
        found = row(record)
        after = Row(change.id, (found.version if found else 0) + 1, change.text) if change.kind != "delete" else None

        async def write(entries: Sequence[Entry]) -> None:
            await self._apply(record, change, entries)

        unit.change(self.name, change.id, after, write)
        return True

    async def find(self, query: Query) -> list[Row]:
        """See `Collection.find`."""
        field, descending, after = query.sort.field, query.sort.descending, query.after
        path = self._path(field) if field else "_id"
        direction = -1 if descending else 1
        clauses = self._clauses(query.where)
        if field:
            clauses += [{"$or": [_of_type(path, "number"), _of_type(path, "string")]}, *_no_array(path)]
        if after is not None:
            beyond = "$lt" if descending else "$gt"
            clauses.append(self._after(path, beyond, after.value, after.id) if field else {"_id": {beyond: after.id}})
        # `document.KEY` is the id again: an index on two fields of the document can serve the order
        order = [(path, direction), (self._by_id, direction)] if field else [("_id", direction)]
        with self._database.translated():
            cursor = self._documents().find(_all(clauses), _SHOWN).sort(order).limit(query.limit)
            return [found async for record in cursor if (found := row(record)) is not None]

    async def count(self, where: tuple[Where, ...]) -> int:
        """See `Collection.count`."""
        with self._database.translated():
            return int(await self._documents().count_documents(_all(self._clauses(where))))

    async def _apply(self, record: Record | None, change: Change, entries: Sequence[Entry]) -> None:
        """Make the change to `record`, or to what has become of it meanwhile."""
        for attempt in range(ATTEMPTS):
            if attempt:
                record = await self._record(change.id)
                if not check(record, change, self.name):  # its events would tell of what somebody else has done
                    raise conflict(self.name, change, None)
            after = changed(record, change, entries, self._database.clock.now(), self.name)
            with self._database.translated():
                try:
                    if await write(self._documents(), record, after):
                        return
                except DuplicateKeyError:
                    unique = [each.field for each in self._indexes if each.unique]
                    if unique and (record is not None or await self._record(change.id) is None):
                        raise duplicate(self.name, unique) from None
        raise StoreBusy(f"{self.name}: {ATTEMPTS} others were quicker to change the document {change.id!r}; try again")

    async def _record(self, identifier: str) -> Record | None:
        with self._database.translated():
            found: Record | None = await self._documents().find_one({"_id": identifier})
        return found

    def _documents(self) -> Any:
        return self._database.raw(self.name)

    def _unit(self, tx: object) -> MongoTransaction:
        if not isinstance(tx, MongoTransaction):
            raise TypeError(f"{self.name} is kept in MongoDB: use its `transaction()`, not a {type(tx).__name__}")
        return tx

    @property
    def _by_id(self) -> str:
        return f"document.{self._key}"

    def _path(self, field: str) -> str:
        return "_id" if field == self._key else f"document.{field}"

    def _declared(self, index: Index) -> tuple[list[tuple[str, int]], dict[str, Any]]:
        path = self._path(index.field)
        if index.unique:
            return [(path, 1)], {"unique": True, "partialFilterExpression": {path: {"$type": "string"}}}
        return [(path, 1), (self._by_id, 1)], {}

    def _clauses(self, where: tuple[Where, ...]) -> list[Filter]:
        clauses: list[Filter] = [{"live": True}]
        for each in where:
            path = self._path(each.field)
            operator = _OPERATORS.get(each.operator)
            clauses.append({path: {operator: each.value} if operator else each.value})
            clauses += [_of_type(path, _type(each.value)), *_no_array(path)]
        return clauses

    def _after(self, path: str, beyond: str, value: Scalar | None, identifier: str) -> Filter:
        """What comes behind a value and an id: numbers stand before texts."""
        assert value is not None
        kind = _type(value)
        choices: list[Filter] = [
            _all([{path: {beyond: value}}, _of_type(path, kind)]),
            _all([{path: value}, _of_type(path, kind), {self._by_id: {beyond: identifier}}]),
        ]
        if (kind == "number") == (beyond == "$gt"):
            choices.append(_of_type(path, "string" if kind == "number" else "number"))
        return {"$or": choices}


async def write(documents: Any, before: Record | None, after: Record | None) -> bool:
    """Put one record in the place of another; False when it is not the one any more that was read.

    Raises `DuplicateKeyError` when there is one already, or a unique index has its value.
    """
    if before is None:
        if after is not None:
            await documents.insert_one(dict(after))
        return True
    same = {"_id": before["_id"], "revision": before["revision"]}
    if after is None:
        return bool((await documents.delete_one(same)).deleted_count)
    return bool((await documents.replace_one(same, dict(after))).matched_count)


# What waits to be handed over, the longest first, and how many events it is
_OUTBOX: Final = ([("since", 1), ("pending", 1)], {"partialFilterExpression": {"pending": {"$gt": 0}}})


def _told(index: Filter) -> tuple[tuple[tuple[str, Any], ...], bool]:
    """What an index is, whatever a server calls it."""
    keys = index["key"].items() if hasattr(index["key"], "items") else index["key"]
    return tuple((field, direction) for field, direction in keys), bool(index.get("unique"))


def _all(clauses: list[Filter]) -> Filter:
    return {"$and": clauses}


def _type(value: Scalar) -> str:
    return "string" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"


def _of_type(path: str, kind: str) -> Filter:
    return {path: {"$type": kind}}


def _no_array(path: str) -> list[Filter]:
    """Nothing on the way is an array, from the document's first name on."""
    names = path.split(".")
    places = [".".join(names[: count + 1]) for count in range(1, len(names))]
    return [{"$nor": [_of_type(place, "array") for place in places]}] if places else []
