"""What every engine answers: the same documents in the same order, compared with an oracle in plain Python."""

import asyncio
import base64
import json

import pytest
from document_stage import ENGINES

from skerry.errors import ConfigurationError, InvalidQuery
from skerry.store.documents import Index, Where
from skerry.store.documents.query import MAX_CONDITIONS, OPERATORS

NOT_ON_THE_WIRE = pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "mongo-wire"])
VALUES = [
    *(3, 1.5, 0, -2, 10, 1, 2**63 - 1, -(2**63), 0.1, 1e300, -1e-300, 2),
    *("", "a", "B", "b", "é", "z", "𝄞", "\uff5e", "10", "a'b\"", "true"),
    *(None, True, False, [], [1], ["a"], {}, {"k": 1}, [{"k": 1}]),
]
BODIES = [{"id": f"{number:02}", "v": value, "w": {"x-y": {"ü": value}}} for number, value in enumerate(VALUES)]
BODIES += [{"id": "none"}, {"id": "null", "w": None}, {"id": "list", "w": [{"x-y": {"ü": 1}}]}]


def kind(value):
    """Which values can be compared with each other."""
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else None


def at(body, field):
    for name in field.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def meets(body, where):
    value = at(body, where.field)
    if kind(value) is None or kind(value) != kind(where.value):
        return False
    return {
        "=": value == where.value,
        "<": value < where.value,
        "<=": value <= where.value,
        ">": value > where.value,
        ">=": value >= where.value,
    }[where.operator]


def in_order(bodies, field, *, descending=False):
    """The ids as a page shows them: numbers before texts, equal ones by id."""
    held = [(at(body, field), body["id"]) for body in bodies if kind(at(body, field)) in {"number", "text"}]
    held.sort(key=lambda pair: (isinstance(pair[0], str), pair[0], pair[1]), reverse=descending)
    return [identifier for _, identifier in held]


async def walk(documents, *where, limit, **options):
    """All pages."""
    found, after = [], None
    for _ in range(200):
        page = await documents.find(*where, limit=limit, after=after, **options)
        found += [each.id for each in page.documents]
        assert len(page.documents) <= limit
        if page.next is None:
            return found
        assert len(page.documents) == limit
        after = page.next
    raise AssertionError("this does not end")


@pytest.fixture(params=["plain", "indexed"])
def indexes(request, engine):
    """None, or one on each field. The server on the wire cannot make one on a name that is no identifier."""
    every = [Index("v"), Index("w.x-y.ü")]
    return {"plain": [], "indexed": every[:1] if engine == "mongo-wire" else every}[request.param]


def test_a_condition_matches_what_it_says_and_nothing_of_another_type(play, indexes):
    """For every value and operator, with an index and without, an engine finds and counts what the oracle does."""

    async def scene(stage):
        things = await stage.documents(indexes=indexes)
        await stage.fill(things, *BODIES)
        for field in ("v", "w.x-y.ü"):
            for value in [value for value in VALUES if kind(value)]:
                for operator in OPERATORS if kind(value) != "truth" else ("=",):
                    where = Where(field, operator, value)
                    wanted = [body["id"] for body in BODIES if meets(body, where)]
                    page = await things.find(where)
                    assert sorted(each.id for each in page.documents) == sorted(wanted), where
                    assert await things.count(where) == len(wanted), where

    play(scene)


@NOT_ON_THE_WIRE
def test_a_path_leads_through_objects_only(play):
    """What stands beyond an array, a text or a number is not found, and names like those of an array's places are none."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, *BODIES, {"id": "deep", "v": {"k": 1, "length": 1, "_0": 1}})
        assert await walk(things, Where("v.k", "=", 1), limit=10) == [
            *(body["id"] for body in BODIES if at(body, "v.k") == 1),
            "deep",
        ]
        assert await walk(things, Where("w.x-y.ü.k", "=", 1), limit=10) == [
            body["id"] for body in BODIES if at(body, "w.x-y.ü.k") == 1
        ]
        assert await walk(things, Where("v.length", ">", 0), limit=10) == ["deep"]
        assert await walk(things, Where("id.v", ">", ""), limit=10) == []

    play(scene)


def test_several_conditions_have_to_be_met_together(play):
    """Conditions on one field make a range, on several fields each narrows the answer."""

    async def scene(stage):
        things = await stage.documents(indexes=[Index("n")])
        await stage.fill(
            things, *({"id": f"{n:02}", "n": n, "colour": ["red", "blue"][n % 2], "on": n > 5} for n in range(20))
        )
        wheres = [Where("n", ">", 3), Where("n", "<=", 16), Where("colour", "=", "red"), Where("on", "=", True)]
        assert await walk(things, *wheres, limit=3) == ["06", "08", "10", "12", "14", "16"]
        assert await walk(things, *wheres, limit=2, sort="-n") == ["16", "14", "12", "10", "08", "06"]
        assert await things.count(*wheres) == 6
        assert await walk(things, *wheres, Where("id", ">", "10"), Where("id", "<", "16"), limit=9) == ["12", "14"]
        assert await things.count(*wheres, Where("id", "=", "12")) == 1
        assert await things.count(Where("id", "=", 12)) == await things.count(Where("id", "=", True)) == 0

    play(scene)


def test_pages_show_everything_once_in_the_order_asked_for(play, indexes):
    """Whatever the size of a page: numbers by value before texts by code point, the id between equals, both ways round."""

    async def scene(stage):
        things = await stage.documents(indexes=indexes)
        twice = BODIES + [body | {"id": f"{body['id']}-again"} for body in BODIES]
        await stage.fill(things, *twice)
        ids = sorted(body["id"] for body in twice)
        for limit in (2, 7, 1000):
            assert await walk(things, limit=limit) == ids
            assert await walk(things, limit=limit, sort="-id") == ids[::-1]
        for field in ("v", "w.x-y.ü"):
            for limit in (3, 1000):
                assert await walk(things, limit=limit, sort=field) == in_order(twice, field)
                assert await walk(things, limit=limit, sort=f"-{field}") == in_order(twice, field, descending=True)
        assert await walk(things, Where("v", ">=", ""), limit=3, sort="v") == in_order(
            [body for body in twice if isinstance(body.get("v"), str)], "v"
        )

    play(scene)


def test_a_cursor_names_a_place_and_not_a_number_of_documents(play):
    """What is added or deleted before it between two pages makes nothing come twice and skips nothing."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, *({"id": f"{n:02}", "n": n // 2} for n in range(10)))
        page = await things.find(sort="n", limit=4)
        assert [each.id for each in page.documents] == ["00", "01", "02", "03"]
        for gone in ("00", "03"):
            async with stage.store.transaction() as tx:
                await things.delete(tx, gone)
        await stage.fill(things, {"id": "before", "n": -1}, {"id": "03a", "n": 1}, {"id": "zz", "n": 4})
        page = await things.find(sort="n", limit=100, after=page.next)
        assert [each.id for each in page.documents] == ["03a", "04", "05", "06", "07", "08", "09", "zz"]

    play(scene)


def test_a_query_that_cannot_be_answered_is_refused_by_all(play):
    """Odd fields, operators, values, limits and orders are `InvalidQuery` with what would be right, on every engine alike."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1})
        fields = [
            "",
            ".",
            "a.",
            "a..b",
            "$where",
            "a.$b",
            "a'b",
            'a"b',
            "a b",
            "a;--",
            "0",
            "a.0",
            "a\x00",
            "\ud800",
            "a{}",
            5,
        ]
        fields += ["n) OR (1=1", "x" * 65, ".".join("a" * 17), None, "id'::text", "a[0]", "a->b", "a\\b", "%s", "?"]
        for field in fields:
            with pytest.raises(InvalidQuery, match="is no field: use names of letters"):
                Where(field, "=", 1)
            if isinstance(field, str) and field:
                with pytest.raises(InvalidQuery, match="is no field"):
                    await things.find(sort=field)
                with pytest.raises(ConfigurationError, match="is no field"):
                    Index(field)
        for operator in ("==", "!=", "$gt", "LIKE", "", None):
            with pytest.raises(InvalidQuery, match="there is no operator"):
                Where("n", operator, 1)
        for value, told in [
            (None, "compare with a str, an int, a float or a bool, not with a NoneType"),
            ({"$gt": 0}, "not with a dict"),
            ([1], "not with a list"),
            (float("nan"), "NaN and infinity"),
            (float("inf"), "NaN and infinity"),
            (2**63, "more than 64 bits"),
            ("a\x00", "NUL"),
            ("\udc00", "lone surrogate"),
            ("é" * 513, "longer than 1024 bytes"),
        ]:
            with pytest.raises(InvalidQuery, match=told):
                Where("n", "=", value)
        with pytest.raises(InvalidQuery, match="only be compared with ="):
            Where("n", ">", True)
        with pytest.raises(InvalidQuery, match="more than a query may have"):
            await things.find(*[Where("n", "=", 1)] * (MAX_CONDITIONS + 1))
        with pytest.raises(InvalidQuery, match="a condition is a Where, not a tuple"):
            await things.count(("n", "=", 1))
        for limit in (0, -1, 1001, 1.5, "10", True, None):
            with pytest.raises(InvalidQuery, match="from 1 to 1000"):
                await things.find(limit=limit)
        assert await things.count() == 1

    play(scene)


def encoded(*parts):
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize("engine", ENGINES[:1])
@pytest.mark.parametrize(
    "forged",
    [
        *("", "x", "!!!", "é", "A" * 9000, encoded(), encoded("n", False, 1), encoded("m", False, 1, "a"), 5),
        *(encoded("n", True, 1, "a"), encoded("n", False, None, "a"), encoded("n", False, True, "a")),
        *(encoded("n", False, {"$gt": 0}, "a"), encoded("n", False, [1], "a"), encoded("n", False, "\x00", "a")),
        *(encoded("n", False, 1, {"$gt": ""}), encoded("n", False, 1, ""), encoded("n", False, 1, None)),
        *(encoded("n", False, 1, "a\x00"), encoded("n", False, 2**70, "a"), encoded("n", False, 1, "x" * 256)),
        base64.urlsafe_b64encode(b'["n", false, NaN, "a"]').decode(),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
        base64.urlsafe_b64encode(b'["n", false, 1e999, "a"]').decode(),
        base64.urlsafe_b64encode(b"\xff\xff").decode(),
    ],
)
def test_a_forged_cursor_is_refused(play, forged):
    """A cursor may come from anybody: whatever is no place in this order is `InvalidQuery`, never an error of the engine."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1}, {"id": "b", "n": 2})
        with pytest.raises(InvalidQuery, match="after: this is no cursor"):
            await things.find(sort="n", after=forged)

    play(scene)


def test_a_cursor_of_another_order_is_refused(play):
    """A place in one order is none in another, also not the other way round."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1, "m": 1}, {"id": "b", "n": 2, "m": 2})
        after = (await things.find(sort="n", limit=1)).next
        assert [each.id for each in (await things.find(sort="n", after=after)).documents] == ["b"]
        for other in ("m", "-n", "", "-id"):
            with pytest.raises(InvalidQuery, match="after: this is no cursor"):
                await things.find(sort=other, after=after)

    play(scene)


def test_a_text_too_long_for_a_cursor_is_said_and_not_skipped(play):
    """A page that would end at such a text is refused; a page that ends elsewhere shows it."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "t": "a"}, {"id": "b", "t": "b" * 2000}, {"id": "c", "t": "c"})
        assert [each.id for each in (await things.find(sort="t")).documents] == ["a", "b", "c"]
        with pytest.raises(InvalidQuery, match=r"things 'b' holds more than 1024 bytes in 't', too much for a cursor"):
            await things.find(sort="t", limit=2)

    play(scene)


PLAN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_index_of_a_field_is_used(play, engine):
    """Equality, a range, an order and the next page of it are answered from the declared index, not by looking at all."""

    async def scene(stage):
        things = await stage.documents(indexes=[Index("price.amount"), Index("ean", unique=True)])
        async with stage.store.transaction() as tx:
            for n in range(2000):
                await things.insert(
                    tx, {"id": f"{n:05}", "ean": f"ean-{n}", "price": {"amount": n % 500}, "pad": "x" * 200}
                )
        if engine == "postgresql":
            async with stage.store.transaction() as tx:
                await tx.execute("ANALYZE documents_things")
        asked = []
        answer = stage.store.fetch_all

        async def explain(sql, parameters=()):
            plan = await answer(PLAN[engine] + sql, parameters)
            asked.append("\n".join(str(tuple(row)) for row in plan))
            return await answer(sql, parameters)

        stage.store.fetch_all = explain
        first = await things.find(sort="price.amount", limit=10)
        await things.find(sort="price.amount", limit=10, after=first.next)
        await things.find(sort="-price.amount", limit=10)
        await things.find(Where("price.amount", "=", 7))
        await things.find(Where("price.amount", ">", 480), Where("price.amount", "<", 490), sort="price.amount")
        await things.find(Where("ean", "=", "ean-77"))
        assert len(asked) == 6
        for plan in asked:
            assert "documents_things_" in plan, plan
            assert "Seq Scan" not in plan, plan
        for plan in asked[:3]:
            assert "Sort Key" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan

    play(scene)


def test_readers_and_writers_do_not_wait_for_each_other(play):
    """A find while a unit of work is open sees what was committed, at once."""

    async def scene(stage):
        things = await stage.documents()
        await stage.fill(things, {"id": "a", "n": 1})
        async with stage.store.transaction() as tx:
            await things.put(tx, {"id": "a", "n": 2})
            async with asyncio.timeout(20):
                assert (await things.find(Where("n", "=", 1))).documents[0].body["n"] == 1
                assert await things.count(Where("n", "=", 2)) == 0
        assert await things.count(Where("n", "=", 2)) == 1

    play(scene)
