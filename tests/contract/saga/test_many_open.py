"""What a commit of the journal costs while very many sagas are open: PostgreSQL's planner decides, so it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers.postgresql import PostgresServer
from skerry.saga import Journal
from skerry.saga.journal import SQL
from skerry.store import connect
from skerry.store.placeholders import inline

OPEN, ENDED = 3_000, 20


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read rows of sagas, or places of theirs from an index."""
    if "Scan" in plan["Node Type"] and "skerry_sagas" in (plan.get("Relation Name") or plan.get("Index Name") or ""):
        yield plan
    for below in plan.get("Plans", []):
        yield from scans(below)


def test_the_end_of_a_few_sagas_is_written_without_a_look_at_all_that_are_open(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Ended sagas are looked up by their ids: no plan reads what others are open, or were since the last vacuum."""

    async def main() -> None:
        database = connect(postgres.own_database("manyopen"), owner="order", data=tmp_path)
        await database.open()
        try:
            await Journal.prepare(database)
            ids = [f"saga-{number:06}" for number in range(OPEN)]
            rows = [(each, "order", 1, each, "[]", "1", "", "", "") for each in ids]
            ended = [(each, "completed", "") for each in ids[::150]]
            assert len(ended) == ENDED
            async with database.transaction() as tx:
                await tx.execute(SQL["start_many"], (json.dumps(rows), 1.0))
            statement = inline(SQL["change_many"].on("postgresql"), (json.dumps(ended), 2.0))
            async with database.transaction() as tx:
                told = await tx.fetch_one(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            found = list(scans(json.loads(told[0])[0]["Plan"]))
            assert found
            read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in found]
            assert max(read) <= ENDED, json.dumps(found)
            assert (await database.fetch_one("SELECT count(*) FROM skerry_sagas WHERE status = 'completed'"))[
                0
            ] == ENDED
        finally:
            await database.close()

    asyncio.run(main())
