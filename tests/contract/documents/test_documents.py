"""What every engine promises of a collection: versions, units of work, and what a document may be."""

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import pytest
from document_stage import ENGINES
from pydantic import BaseModel, Field

from skerry.errors import (
    ConfigurationError,
    DuplicateValue,
    InvalidDocument,
    NoTransaction,
    StoreError,
    VersionConflict,
    WrongOwner,
)
from skerry.store.documents import Documents, Index, Stored, Where
from skerry.store.documents.body import MAX_BYTES, MAX_DEPTH

SQL_ONLY = pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
MONGO_ONLY = pytest.mark.parametrize("engine", ["mongo-wire", "mongomock"])


def test_a_document_is_added_changed_and_deleted(play):
    """Each change gives the next version; what is deleted is not there, and begins with version 1 again."""

    async def scene(stage):
        things = await stage.documents()
        assert await things.get("a") is None
        async with stage.store.transaction() as tx:
            assert await things.insert(tx, {"id": "a", "n": 1}) == 1
        assert await things.get("a") == Stored("a", 1, {"id": "a", "n": 1})
        async with stage.store.transaction() as tx:
            assert await things.replace(tx, {"id": "a", "m": [2]}, version=1) == 2
        assert await things.get("a") == Stored("a", 2, {"id": "a", "m": [2]})
        for n in (3, 4):
            async with stage.store.transaction() as tx:
                await things.put(tx, {"id": "a", "n": n})
            assert await things.get("a") == Stored("a", n, {"id": "a", "n": n})
        async with stage.store.transaction() as tx:
            assert await things.delete(tx, "a", version=4)
        assert await things.get("a") is None
        async with stage.store.transaction() as tx:
            assert not await things.delete(tx, "a")
        async with stage.store.transaction() as tx:
            await things.put(tx, {"id": "a"})
        assert await things.get("a") == Stored("a", 1, {"id": "a"})
        async with stage.store.transaction() as tx:
            assert await things.delete(tx, "a")
        assert await things.count() == 0

    play(scene)


def test_a_change_to_another_version_than_the_one_read_is_refused(play):
    """A writer that did not see the last change gets `VersionConflict`, which says what is there, and writes nothing."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1})
        for change, told in [
            (lambda tx: things.replace(tx, {"id": "a", "n": 2}, version=2), "in version 1 by now, not in 2"),
            (lambda tx: things.replace(tx, {"id": "b", "n": 2}, version=1), "is not there"),
            (lambda tx: things.insert(tx, {"id": "a", "n": 2}), "already, in version 1"),
            (lambda tx: things.delete(tx, "a", version=3), "in version 1 by now, not in 3"),
            (lambda tx: things.delete(tx, "b", version=1), "is not there"),
        ]:
            with pytest.raises(VersionConflict, match=told):
                async with stage.store.transaction() as tx:
                    await change(tx)
        assert await things.get("a") == Stored("a", 1, {"id": "a", "n": 1})
        assert await things.count() == 1

    play(scene)


def test_a_unit_of_work_that_is_cancelled_ends_at_whatever_turn_of_the_loop(play):
    """In Python 3.11 a driver's `asyncio.wait_for` forgets a cancellation that comes with the answer; a unit of work does not."""

    async def scene(stage):
        things = await stage.documents()

        async def hangs(number):
            async with stage.store.transaction() as tx:
                await things.insert(tx, {"id": f"b{number}"})
                await asyncio.Event().wait()

        for number in range(120):
            task = asyncio.create_task(hangs(number))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            _, left = await asyncio.wait({task}, timeout=30)
            assert not left, f"cancelled in turn {number % 12} it went on"
            assert task.cancelled()
            assert not (await things.find()).documents  # over a new connection, which the next one has ready

    play(scene)


def test_a_unit_of_work_that_fails_changes_nothing(play):
    """What a block did is undone when it raises or is cancelled, also when the change itself went well."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a"})
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - the block is the thing
            async with stage.store.transaction() as tx:
                await things.delete(tx, "a")
                raise KeyError("mine")

        async def hangs():
            async with stage.store.transaction() as tx:
                await things.insert(tx, {"id": "b"})
                await asyncio.Event().wait()

        task = asyncio.create_task(hangs())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert [each.id for each in (await things.find()).documents] == ["a"]

    play(scene)


def test_a_unit_of_work_sees_its_own_change_and_others_do_not(play):
    """`get(tx=...)` shows what the unit has written; without it only what is committed is shown."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1}, {"id": "b"})
        async with stage.store.transaction() as tx:
            await things.replace(tx, {"id": "a", "n": 2}, version=1)
            assert await things.get("a", tx=tx) == Stored("a", 2, {"id": "a", "n": 2})
            assert await things.get("a") == Stored("a", 1, {"id": "a", "n": 1})
            assert await things.get("b", tx=tx) == Stored("b", 1, {"id": "b"})
        async with stage.store.transaction() as tx:
            await things.delete(tx, "a")
            assert await things.get("a", tx=tx) is None
            assert (await things.get("a")).version == 2

    play(scene)


def test_a_unit_of_work_that_has_ended_takes_no_change(play):
    """After its block it raises `NoTransaction` instead of writing into nothing."""

    async def scene(stage):
        things = await stage.documents()
        async with stage.store.transaction() as tx:
            pass
        with pytest.raises(NoTransaction):
            await things.insert(tx, {"id": "a"})
        assert await things.count() == 0

    play(scene)


@SQL_ONLY
def test_on_sql_documents_and_rows_change_together(play):
    """Any number of documents of several collections, and rows beside them, are one transaction."""

    async def scene(stage):
        things, others = await stage.documents(), await stage.documents(name="others")
        async with stage.store.transaction() as tx:
            await tx.execute("CREATE TABLE t (n INTEGER)")
        with pytest.raises(VersionConflict):  # noqa: PT012 - the block is the thing
            async with stage.store.transaction() as tx:
                await things.insert(tx, {"id": "a"})
                await others.insert(tx, {"id": "a"})
                await tx.execute("INSERT INTO t VALUES (?)", (1,))
                await things.insert(tx, {"id": "a"})
        assert (await things.count(), await others.count()) == (0, 0)
        async with stage.store.transaction() as tx:
            await things.insert(tx, {"id": "a"})
            await things.replace(tx, {"id": "a", "n": 2}, version=1)
            await others.insert(tx, {"id": "a"})
            await tx.execute("INSERT INTO t VALUES (?)", (1,))
        assert (await things.get("a")).version == 2
        assert (await stage.store.fetch_one("SELECT count(*) FROM t"))[0] == 1

    play(scene)


@MONGO_ONLY
def test_on_mongodb_a_unit_of_work_is_one_change_of_one_document(play):
    """A second change, and SQL, are refused with what to do instead; nothing of the unit is written."""

    async def scene(stage):
        things = await stage.documents()
        for second in (
            lambda tx: things.insert(tx, {"id": "b"}),
            lambda tx: things.put(tx, {"id": "a", "n": 2}),
            lambda tx: tx.execute("UPDATE t SET n = 1"),
            lambda tx: tx.fetch_all("SELECT 1"),
            lambda tx: tx.lock("a"),
        ):
            with pytest.raises(ConfigurationError, match=r"one change of one document.*(SQLite|sqlite)"):  # noqa: PT012
                async with stage.store.transaction() as tx:
                    await things.insert(tx, {"id": "a"})
                    await second(tx)
        assert await things.count() == 0

    play(scene)


class Colour(StrEnum):
    RED = "red"


class Part(BaseModel):
    label: str = Field(alias="$name", serialization_alias="name", validation_alias="name")
    made: datetime


class Thing(BaseModel):
    uid: UUID
    colour: Colour
    parts: list[Part] = []
    extra: dict[str, object] = {}


def test_a_document_of_a_model_comes_back_as_it_was(play):
    """Ids, dates, enumerations, aliases and nested models of pydantic's are read as they were written; fields are JSON's."""

    async def scene(stage):
        things = await stage.documents(Thing, key="uid")
        uid = UUID("01932f1c-7f0a-7000-8000-000000000001")
        part = Part.model_validate({"name": "wick", "made": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)})
        thing = Thing(uid=uid, colour=Colour.RED, parts=[part], extra={"a": {"b": [1, 2.5, None]}})
        await stage.fill(things, thing)
        assert await things.get(str(uid)) == Stored(str(uid), 1, thing)
        found = await things.find(Where("colour", "=", Colour.RED), Where("extra.a.b", "=", 1))
        assert found.documents == []
        found = await things.find(Where("colour", "=", "red"), sort="colour")
        assert [each.body for each in found.documents] == [thing]

    play(scene)


class Loose(BaseModel):
    id: str
    text: str = ""
    raw: bytes = b""
    number: float = 0.0
    more: dict[str, object] = {}


@pytest.mark.parametrize(
    "wrong",
    [{"text": "\ud800"}, {"raw": b"\xff"}, {"number": float("nan")}, {"more": {"$a": 1}}, {"more": {"a": object()}}],
)
def test_a_model_that_is_no_plain_json_is_refused_too(play, wrong):
    """Whatever a model lets through: what not every engine holds is `InvalidDocument`, not an error of pydantic's."""

    async def scene(stage):
        things = await stage.documents(Loose)
        with pytest.raises(InvalidDocument, match="things: "):
            async with stage.store.transaction() as tx:
                await things.insert(tx, Loose(id="a", **wrong))
        assert await things.count() == 0

    play(scene)


def test_a_stored_document_that_does_not_fit_the_model_is_an_error_without_its_contents(play):
    """Code that expects something else than what is stored says which document and field it is, and shows no value."""

    async def scene(stage):
        await stage.fill(await stage.documents(key="uid"), {"uid": "a", "colour": "secret"})
        things = await stage.documents(Thing, key="uid")
        with pytest.raises(
            StoreError, match=r"things: the document 'a' does not fit Thing: uid: uuid_parsing"
        ) as caught:
            await things.get("a")
        assert "secret" not in str(caught.value)
        with pytest.raises(InvalidDocument, match="is a dict, not a Thing"):
            async with stage.store.transaction() as tx:
                await things.insert(tx, {"uid": "b", "colour": "red"})

    play(scene)


ODD = {
    "id": "odd",
    "texts": ["", " ", "é", "𝄞", "\u2028", "q\"uo'te", "back\\slash", "\x01\t\n", "%s %% ? ?1 $1 :a {x}", "\ufeff"],
    "numbers": [0, -1, 2**63 - 1, -(2**63), 0.1, -0.5, 1e-300, 5e-324, 1e16, 1.5e300, 2**53 + 1, 1.0],
    "rest": [True, False, None, [], {}, [[[]]], [{"a": []}]],
    "it's": {'a "b"': {"naïve": 1, " ": 2, "a-b": 3, "{x}": 4, "?": 5, "0": 6, "\\": 7, "$"[:0] + "x$": 8}},
}


def test_whatever_is_plain_json_comes_back_equal(play):
    """Odd texts, numbers at the limits, empty containers and odd names are the same when they are read."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, ODD)
        found = (await things.get("odd")).body
        assert found == ODD
        assert [type(value) for value in found["rest"]] == [type(value) for value in ODD["rest"]]
        async with stage.store.transaction() as tx:
            await things.put(tx, found)
        assert (await things.get("odd")).body == ODD

    play(scene)


def nested(depth):
    body = []
    for _ in range(depth - 2):
        body = [body]
    return {"id": "a", "deep": body}


REFUSED = [
    ({"id": "a", "x": float("nan")}, "x: NaN and infinity are no JSON numbers"),
    ({"id": "a", "x": [1, float("-inf")]}, "x.1: NaN and infinity"),
    ({"id": "a", "x": 2**63}, "x: a whole number has at most 64 bits"),
    ({"id": "a", "x": {"y": -(2**63) - 1}}, "x.y: a whole number"),
    ({"id": "a", "x": "a\x00b"}, "x: the text holds a NUL or a lone surrogate"),
    ({"id": "a", "x": "\ud800"}, "x: the text holds a NUL or a lone surrogate"),
    ({"id": "a", "x": {"\udfff": 1}}, "x: no name begins with"),
    ({"id": "a", "$x": 1}, "things: no name begins with"),
    ({"id": "a", "x": {"y": {"$set": 1}}}, "x.y: no name begins with"),
    ({"id": "a", "a.b": 1}, "holds a dot"),
    ({"id": "a", "x\x00": 1}, "NUL"),
    ({"id": "a", "": 1}, "a name has 1 to 255 characters"),
    ({"id": "a", "n" * 256: 1}, "a name has 1 to 255 characters"),
    ({"id": "a", 5: 1}, "a name is a text, not a int"),
    ({"id": "a", "x": b"bytes"}, "x: a bytes is not plain JSON"),
    ({"id": "a", "x": {1}}, "x: a set is not plain JSON"),
    ({"id": "a", "x": datetime(2026, 1, 1, tzinfo=UTC)}, "x: a datetime is not plain JSON"),
    (nested(MAX_DEPTH + 1), "nested deeper than 64"),
    ({"id": "a", "x": "y" * MAX_BYTES}, "bytes are more than a document may have"),
    ({"x": 1}, "things: id: an id is a text"),
    ({"id": ""}, "an id is a text of 1 to 255 characters"),
    ({"id": 5}, "an id is a text"),
    ({"id": "x" * 256}, "an id is a text"),
    ({"id": "a\tb"}, "control character"),
]


def test_what_one_engine_cannot_hold_is_refused_by_all(play):
    """The same documents are refused everywhere, before anything is written, with the place and without the value."""

    async def scene(stage):
        things = await stage.documents()
        for body, told in REFUSED:
            for write in (things.insert, things.put):
                with pytest.raises(InvalidDocument) as caught:
                    async with stage.store.transaction() as tx:
                        await write(tx, body)
                assert told in str(caught.value)
                assert str(caught.value).startswith("things: ")
                assert len(str(caught.value)) < 300
        assert await things.count() == 0
        await stage.fill(things, nested(MAX_DEPTH), {"id": "x" * 255, "y": "z" * (MAX_BYTES - 300)})
        assert (await things.get("a")).body == nested(MAX_DEPTH)
        assert len((await things.get("x" * 255)).body["y"]) == MAX_BYTES - 300

    play(scene)


def test_an_id_that_nothing_can_have_is_not_found(play):
    """Whatever a caller sends as an id, `get` looks it up or says that there is no such document; `delete` refuses it."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a"}, {"id": 'it\'s "quoted" % ?'})
        for odd in ("", "\x00", "\ud800", "x" * 5000, "a' OR '1'='1", "$ne", '{"$ne": 1}', "%", "*"):
            assert await things.get(odd) is None
        assert (await things.get('it\'s "quoted" % ?')).version == 1
        for odd in ({"$ne": None}, None, 5):
            assert await things.get(odd) is None
            with pytest.raises(InvalidDocument):
                async with stage.store.transaction() as tx:
                    await things.delete(tx, odd)
        assert await things.count() == 2

    play(scene)


def test_of_two_writers_of_one_version_one_wins(play):
    """However many have read a version and write at the same time: one change is made, all others are told."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "by": -1})
        start = asyncio.Barrier(6)

        async def writer(number):
            store = stage.stores[number % 2]
            mine = Documents(store, "things", dict)
            await start.wait()
            try:
                async with store.transaction() as tx:
                    await mine.replace(tx, {"id": "a", "by": number}, version=1)
            except VersionConflict:
                return None
            return number

        won = [number for number in await asyncio.gather(*map(writer, range(6))) if number is not None]
        assert len(won) == 1
        assert await things.get("a") == Stored("a", 2, {"id": "a", "by": won[0]})

    play(scene, handles=2)


def test_no_change_is_lost_between_writers_that_read_again(play):
    """Writers that add one and begin anew after a conflict have added all their ones; versions count every change."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 0})
        conflicts = 0

        async def writer(number):
            nonlocal conflicts
            store = stage.stores[number % 2]
            mine = Documents(store, "things", dict)
            for _ in range(8):
                while True:
                    stored = await mine.get("a")
                    try:
                        async with store.transaction() as tx:
                            await mine.replace(tx, {"id": "a", "n": stored.body["n"] + 1}, version=stored.version)
                        break
                    except VersionConflict:
                        conflicts += 1

        await asyncio.gather(*map(writer, range(4)))
        assert await things.get("a") == Stored("a", 33, {"id": "a", "n": 32})
        assert conflicts

    play(scene, handles=2)


def test_of_many_that_add_one_id_one_does(play):
    """The others are told that it is there, and the document is that of the first."""

    async def scene(stage):
        things = await stage.documents()
        start = asyncio.Barrier(6)

        async def writer(number):
            store = stage.stores[number % 2]
            await start.wait()
            try:
                async with store.transaction() as tx:
                    await Documents(store, "things", dict).insert(tx, {"id": "a", "by": number})
            except VersionConflict:
                return None
            return number

        won = [number for number in await asyncio.gather(*map(writer, range(6))) if number is not None]
        assert len(won) == 1
        assert await things.get("a") == Stored("a", 1, {"id": "a", "by": won[0]})

    play(scene, handles=2)


def test_writers_that_ask_for_no_version_all_write(play):
    """`put` never conflicts: the last one wins, and the version counts them all."""

    async def scene(stage):
        things = await stage.documents()

        async def writer(number):
            store = stage.stores[number % 2]
            for _ in range(5):
                async with store.transaction() as tx:
                    await Documents(store, "things", dict).put(tx, {"id": "a", "by": number})

        await asyncio.gather(*map(writer, range(4)))
        stored = await things.get("a")
        assert stored.version == 20
        assert stored.body["by"] in range(4)

    play(scene, handles=2)


def test_a_collection_is_made_ready_by_several_at_once_and_again(play):
    """Processes that start together do not get in each other's way, and an index that is new comes to what is there."""

    async def scene(stage):
        indexes = [Index("n"), Index("a.b", unique=True)]
        await asyncio.gather(*(stage.documents(indexes=indexes, store=store) for store in stage.stores * 2))
        things = await stage.documents(indexes=indexes)
        await stage.fill(things, {"id": "a", "n": 2}, {"id": "b", "n": 1, "a": {"b": "x"}})
        things = await stage.documents(indexes=[*indexes, Index("later"), Index("a.c")])
        await stage.fill(things, {"id": "c", "n": 3, "later": 1})
        assert [each.id for each in (await things.find(sort="n")).documents] == ["b", "a", "c"]
        assert [each.id for each in (await things.find(Where("later", "=", 1))).documents] == ["c"]

    play(scene, handles=3)


def test_a_unique_index_lets_no_two_documents_have_one_text(play):
    """A second one is refused with the field's name and without the value; nothing, and null, may be there often."""

    async def scene(stage):
        things = await stage.documents(indexes=[Index("ean", unique=True)])
        await stage.fill(things, {"id": "a", "ean": "secret"}, {"id": "b"}, {"id": "c"}, {"id": "d", "ean": None})
        await stage.fill(things, {"id": "e", "ean": None}, {"id": "f", "ean": ""})
        for change in (
            lambda tx: things.insert(tx, {"id": "x", "ean": "secret"}),
            lambda tx: things.put(tx, {"id": "x", "ean": "secret"}),
            lambda tx: things.replace(tx, {"id": "b", "ean": "secret"}, version=1),
            lambda tx: things.put(tx, {"id": "d", "ean": "secret"}),
        ):
            with pytest.raises(DuplicateValue, match="things: another document has the same value in 'ean'") as caught:
                async with stage.store.transaction() as tx:
                    await change(tx)
            assert "secret" not in str(caught.value)
        for wrong in (5, True, ["secret"], {"a": 1}):
            with pytest.raises(InvalidDocument, match="ean: a field with a unique index holds a text or nothing"):
                async with stage.store.transaction() as tx:
                    await things.insert(tx, {"id": "x", "ean": wrong})
        async with stage.store.transaction() as tx:
            await things.replace(tx, {"id": "a", "ean": "secret", "n": 1}, version=1)
        async with stage.store.transaction() as tx:
            await things.delete(tx, "a")
        await stage.fill(things, {"id": "x", "ean": "secret"})
        assert [each.id for each in (await things.find()).documents] == ["b", "c", "d", "e", "f", "x"]

    play(scene)


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "mongo-wire"])
def test_a_unique_index_is_not_made_over_what_breaks_it(play):
    """Documents that have one text already are told with the field's name; without the index all goes on."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "ean": "secret"}, {"id": "b", "ean": "secret"})
        with pytest.raises(DuplicateValue, match="things: another document has the same value in 'ean'") as caught:
            await stage.documents(indexes=[Index("ean", unique=True)])
        assert "secret" not in str(caught.value)
        await stage.fill(things, {"id": "c", "ean": "secret"})
        assert await things.count() == 3

    play(scene)


def test_a_field_with_an_index_has_a_length_that_every_engine_takes(play):
    """A longer text is refused by all instead of failing on the one engine that has the limit."""

    async def scene(stage):
        things = await stage.documents(indexes=[Index("a.b")])
        await stage.fill(things, {"id": "x" * 255, "a": {"b": "é" * 512}})
        with pytest.raises(InvalidDocument, match="at most 1024 bytes"):
            async with stage.store.transaction() as tx:
                await things.insert(tx, {"id": "b", "a": {"b": "é" * 512 + "x"}})

    play(scene)


def test_the_database_of_another_service_is_refused(play):
    """The name in the database is its owner's; whoever comes second is told both names."""

    async def scene(stage):
        with pytest.raises(WrongOwner, match=r"belongs to the service 'product'; give 'order'"):
            await stage.another("order")
        await stage.documents(store=await stage.another("product"))

    play(scene)


@pytest.mark.parametrize("engine", ENGINES[:1])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "Things"}, "cannot name a collection"),
        ({"name": "x'; DROP TABLE y"}, "cannot name a collection"),
        ({"name": "a" * 32}, "cannot name a collection"),
        ({"name": "skerry_owner"}, "cannot name a collection"),
        ({"key": "a.b"}, "cannot be the field that holds the id"),
        ({"key": "a'"}, "cannot be the field that holds the id"),
        ({"indexes": [Index("a"), Index("a", unique=True)]}, "one index a field"),
        ({"indexes": [Index("id")]}, "none on 'id'"),
        ({"model": list}, "a pydantic model or dict, not list"),
    ],
)
def test_a_collection_that_cannot_be_is_refused_when_it_is_declared(play, arguments, told):
    """A name, key, index or model that no engine takes is an error at once, not at the first write."""

    async def scene(stage):
        with pytest.raises(ConfigurationError, match=told):
            Documents(stage.store, **({"name": "things", "model": dict} | arguments))

    play(scene)
