"""An operator and a consumer that meet at one dead letter, on PostgreSQL, where two writers run at the same time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2])]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.events import DeadLetters, Outbox  # noqa: E402
from skerry.events.brokers import Message  # noqa: E402
from skerry.events.parking import Parking  # noqa: E402
from skerry.store import Database, Receipts, connect  # noqa: E402

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize("held_before", [0, 1])
def test_an_event_that_is_held_while_what_it_waits_for_is_dropped_goes_on(tmp_path: Path, held_before: int) -> None:
    """The consumer finds a dead letter and holds the next event behind it; an operator drops the letter before that commits."""

    async def meet(consumer: Database, operator: Database) -> None:
        parking, letters = Parking("billing", hold_key=True), DeadLetters(operator)
        messages = [Message(f"e{n}", "placed", "a", "{}") for n in range(2 + held_before)]
        async with consumer.transaction() as tx:
            for number, message in enumerate(messages[:-1]):
                await parking.add(tx, message, "held" if number else "dead", attempts=1, reason="OSError")
        [dead] = await letters.dead()
        async with consumer.transaction() as tx:
            assert await parking.holds(tx, messages[-1])
            await parking.add(tx, messages[-1], "held", reason="an earlier event of this key is parked")
            dropping = asyncio.create_task(letters.drop(dead.id))
            async with asyncio.timeout(60):
                while not dropping.done() and not await operator.fetch_all(BLOCKED):
                    await asyncio.sleep(0.01)
        assert await dropping
        rows = await operator.fetch_all("SELECT state FROM skerry_parked ORDER BY id")
        assert [row[0] for row in rows] == ["retry", *["held"] * held_before]

    async def main(url: str) -> None:
        consumer, operator = (connect(url, owner="billing", data=tmp_path) for _ in range(2))
        await consumer.open()
        await operator.open()
        try:
            await Receipts.prepare(consumer)
            await Outbox.prepare(consumer)
            await meet(consumer, operator)
        finally:
            await operator.close()
            await consumer.close()

    with PostgresServer(tmp_path / "server") as server:
        asyncio.run(main(server.own_database("billing")))
