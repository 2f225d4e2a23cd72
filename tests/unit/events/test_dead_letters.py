"""Dead letters as a person sees them: what is listed, what is tried again, what goes on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from skerry.events import Backlog, DeadLetters, DomainEvent, Outbox, Projections, ProjectionStatus, backlog
from skerry.events.brokers import Message
from skerry.events.parking import Parking
from skerry.store import Receipts, SQLiteDatabase
from skerry.testing import VirtualClock, run_virtual


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str


@asynccontextmanager
async def letters_of(folder: Path, *parked: tuple[str, str, str, str]):
    """A database in which (group, type, key, state) are parked, with the ids 1, 2, ..."""
    database = SQLiteDatabase(folder / "billing.db", owner="billing")
    await database.open()
    try:
        await Receipts.prepare(database)
        await Outbox.prepare(database)
        async with database.transaction() as tx:
            for number, (group, event_type, key, state) in enumerate(parked, 1):
                message = Message(f"e{number}", event_type, key, "{}")
                await Parking(group, hold_key=True).add(tx, message, state, attempts=1, reason="OSError")
        yield DeadLetters(database), database
    finally:
        await database.close()


PARKED = (
    ("billing", "placed", "a", "dead"),
    ("billing", "placed", "a", "held"),
    ("billing", "paid", "b", "dead"),
    ("audit", "placed", "a", "dead"),
    ("billing", "paid", "a", "held"),
    ("billing", "placed", "c", "retry"),
    ("billing", "placed", "c", "held"),
)


def test_dead_letters_come_with_what_waits_behind_them(tmp_path: Path) -> None:
    """Held are events of the same group and key, as long as nothing of the key is about to be tried."""

    async def main() -> None:
        async with letters_of(tmp_path, *PARKED) as (letters, _):
            assert [(each.id, each.held) for each in await letters.dead()] == [(1, 2), (3, 0), (4, 0)]
            assert [await letters.behind(each) for each in (1, 2, 3, 6, 99)] == [2, 0, 0, 0, 0]
            assert await letters.retry(1)
            assert [(each.id, each.held) for each in await letters.dead()] == [(3, 0), (4, 0)]

    asyncio.run(main())


def test_filters_and_limits_hold_for_every_question(tmp_path: Path) -> None:
    """Group, type and key restrict, alone and together; the oldest come first."""

    async def main() -> None:
        async with letters_of(tmp_path, *PARKED) as (letters, _):
            assert [each.id for each in await letters.dead(group="billing")] == [1, 3]
            assert [each.id for each in await letters.dead(key="a", event_type="placed")] == [1, 4]
            assert [each.id for each in await letters.dead(limit=2)] == [1, 3]
            assert [each.id for each in await letters.list(key="a", group="billing")] == [1, 2, 5]
            assert [each.id for each in await letters.list(limit=1)] == [1]
            assert [await letters.count(), await letters.count(key="a"), await letters.count(group="x")] == [3, 2, 0]

    asyncio.run(main())


def test_one_is_found_by_its_id_in_any_state(tmp_path: Path) -> None:
    """`get` tells of dead, held and waiting ones, and of nothing else."""

    async def main() -> None:
        async with letters_of(tmp_path, *PARKED) as (letters, _):
            found = [await letters.get(each) for each in (1, 2, 6, 8)]
            assert [each and each.state for each in found] == ["dead", "held", "retry", None]

    asyncio.run(main())


def test_many_are_tried_again_at_once_but_no_more_than_allowed(tmp_path: Path) -> None:
    """`retry_all` tells which; those held stay held, and the rest is left."""

    async def main() -> None:
        async with letters_of(tmp_path, *PARKED) as (letters, _):
            assert await letters.retry_all(limit=1, group="billing") == [1]
            assert await letters.retry_all(key="none") == []
            assert await letters.retry_all() == [3, 4]
            assert [each.state for each in await letters.list()] == ["held", "held", "held"]
            again = await letters.get(1)
            assert again is not None
            assert (again.state, again.attempts, again.reason) == ("retry", 0, "retried by an operator")

    asyncio.run(main())


def test_only_dead_ones_are_retried_or_dropped(tmp_path: Path) -> None:
    """A held event cannot overtake the one it waits for, and one that is tried right now is not taken away."""

    async def main() -> None:
        async with letters_of(tmp_path, *PARKED) as (letters, _):
            assert [await letters.retry(each) for each in (2, 6, 99)] == [False, False, False]
            assert [await letters.drop(each) for each in (2, 6, 99)] == [False, False, False]
            assert await letters.drop(1)
            assert not await letters.drop(1)
            behind = [await letters.get(each) for each in (2, 5)]
            assert [each and each.state for each in behind] == ["retry", "held"]

    asyncio.run(main())


def test_a_key_is_held_by_each_dead_letter_of_it(tmp_path: Path) -> None:
    """What waits goes on once the last dead letter before it is decided about, whichever that is."""
    parked = (
        ("billing", "placed", "a", "dead"),
        ("billing", "placed", "a", "dead"),
        ("billing", "placed", "a", "held"),
    )

    async def main(first: int, last: int) -> None:
        async with letters_of(tmp_path / str(first), *parked) as (letters, _):
            states = []
            for each in (first, last):
                assert await letters.drop(each)
                waiting = await letters.get(3)
                assert waiting is not None
                states.append(waiting.state)
            assert states == ["held", "retry"]

    for first, last in ((1, 2), (2, 1)):
        (tmp_path / str(first)).mkdir()
        asyncio.run(main(first, last))


def test_a_backlog_tells_what_waits_from_what_is_delayed(tmp_path: Path) -> None:
    """The oldest has waited since it was recorded, a delayed one since it became due."""

    async def main(clock: VirtualClock) -> None:
        async with letters_of(tmp_path) as (_, database):
            outbox = Outbox("billing", clock=clock)
            assert await backlog(database, clock=clock) == Backlog(0, 0, None)
            async with database.transaction() as tx:
                await outbox.record(tx, Placed(order="later"), delay=100.0)
            assert await backlog(database, clock=clock) == Backlog(0, 1, None)
            await clock.sleep(130.0)
            async with database.transaction() as tx:
                await outbox.record(tx, Placed(order="now"), Placed(order="too"))
            await clock.sleep(20.0)
            found = await backlog(database, clock=clock)
            assert (found.waiting, found.delayed, round(found.oldest or 0.0)) == (3, 0, 50)
            async with database.transaction() as tx:
                await tx.execute("DELETE FROM skerry_outbox WHERE due_at IS NOT NULL")
            assert round((await backlog(database, clock=clock)).oldest or 0.0) == 20
            async with database.transaction() as tx:
                await tx.execute("UPDATE skerry_outbox SET body = 'torn'")
            assert await backlog(database, clock=clock) == Backlog(2, 0, None)

    run_virtual(main)


def test_how_far_a_rebuild_has_come_is_measured_by_what_is_read(tmp_path: Path) -> None:
    """The share of the live generation's position that the new one has reached, over all sources; unknown without a live one."""

    async def main() -> None:
        async with letters_of(tmp_path) as (_, database):
            projections = Projections(database)
            assert (await projections.list(), await projections.find("totals")) == ([], None)
            async with database.transaction() as tx:
                for version, live in ((1, 3), (2, 0)):
                    await tx.execute("INSERT INTO skerry_projections VALUES ('totals', ?, ?, 0, 3)", (version, live))
                for generation, source, offset in ((3, "order", 60), (3, "shop", 40), (4, "order", 50), (4, "new", 9)):
                    group = f"projection:totals:1:{generation}"
                    await tx.execute("INSERT INTO skerry_positions VALUES (?, ?, ?, '')", (group, source, offset))
            assert await projections.rebuild("totals", 1)
            assert not await projections.rebuild("totals", 1)
            assert not await projections.rebuild("none", 1)
            first, newest = await projections.find("totals", 1), await projections.find("totals")
            assert first == ProjectionStatus("totals", 1, 3, 4)
            assert newest == ProjectionStatus("totals", 2, 0, 0)
            assert [await projections.progress(each) for each in (first, newest)] == [0.5, None]

    asyncio.run(main())
