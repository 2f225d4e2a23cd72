"""What a batch costs PostgreSQL: its planner decides, so it is asked; and what is sent is counted."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from skerry.events.outbox import SQL
from skerry.store import Receipts
from skerry.store.placeholders import inline

WAITING = 40
_numbers = itertools.count(1)


@pytest.fixture
def address(postgres) -> str:
    return postgres.own_database(f"work{next(_numbers)}")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


async def planned(tx, name: str, *parameters) -> list[dict[str, Any]]:
    """The nodes of the plan of a statement of the outbox, from the top, as it is for a large table; what it does is done."""
    await tx.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    statement = inline(SQL[name].on("postgresql"), parameters)
    told = await tx.fetch_one(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
    return list(nodes(json.loads(told[0])[0]["Plan"]))


@pytest.mark.parametrize(("name", "more"), [("outbox_read", ()), ("outbox_read_parts", (15,))])
def test_the_events_of_a_batch_are_not_sorted_by_the_server(staged, name, more):
    """They lie in their order; a sort would move all their bodies once more. Only delayed ones that are due are put in order."""

    async def main():
        async with staged() as stage:
            for _ in range(3):
                await stage.count("a")
            async with stage.database.transaction() as tx:
                read = await planned(tx, name, 500, 1.0, *more)
            assert read[0]["Actual Rows"] == 3
            assert max(each["Actual Rows"] for each in read if "Sort" in each["Node Type"]) == 0

    asyncio.run(main())


def test_a_batch_is_deleted_by_its_ids_alone(staged):
    """Each row is looked up in the index, and nothing is joined, unfolded or hashed for it."""

    async def main():
        async with staged() as stage:
            async with stage.database.transaction() as tx:
                await stage.outbox.record(tx, *(stage.Counted(counter="a", n=n) for n in range(WAITING)))
            ids = [row["id"] for row in await stage.database.fetch_all("SELECT id FROM skerry_outbox ORDER BY id")]
            async with stage.database.transaction() as tx:
                deleted = await planned(tx, "outbox_delete", json.dumps(ids[:-1]))
            assert [each["Node Type"] for each in deleted] == ["ModifyTable", "Index Scan"]
            left = await stage.database.fetch_all("SELECT id FROM skerry_outbox")
            assert [row["id"] for row in left] == ids[-1:]

    asyncio.run(main())


def test_receipts_of_many_events_travel_with_the_commit(staged):
    """However many they are: one statement, in the message of the COMMIT. A statement of one's own sends them before it."""

    async def main():
        async with staged() as stage:
            sent, receipts = [], Receipts()
            keys = [f"event '{n}' \\ \"{chr(0x20AC + n)}\"" for n in range(WAITING)]
            async with stage.database.transaction() as tx:
                tx.connection.add_query_logger(lambda message: sent.append(message.query))
                receipts.insert_later(tx, "inbox:a", keys, "handled")
            assert len(sent) == 1
            async with stage.database.transaction() as tx:
                tx.later("INSERT INTO counters VALUES (?, ?)", ("a", 1))
                receipts.insert_later(tx, "inbox:b", keys, "handled")
            for scope in ("inbox:a", "inbox:b"):
                found = [await receipts.find(stage.database, scope, key) for key in keys]
                assert [(each.key, each.state, each.fingerprint, each.result) for each in found] == [
                    (key, "handled", "", None) for key in keys
                ]

    asyncio.run(main())
