"""Projections on both engines: exact after failures and restarts, rebuilt while they are read, and never behind a token."""

import asyncio

import pytest
from projecting import TABLES, hosted, totals, until

from skerry.errors import ConfigurationError, Held, ProjectionBehind, StoreError
from skerry.events import DeadLetters, Projection
from skerry.events import projection as module


def test_a_projection_shows_what_a_token_stands_for(staged):
    """After `wait` a query sees the caller's own writes; events of no interest do not make it wait."""

    async def main():
        async with staged() as stage, stage.relaying():
            projection = totals(stage)
            async with hosted(stage, projection):
                for n in range(1, 6):
                    async with stage.database.transaction() as tx:
                        token = await stage.outbox.record(tx, stage.Counted(counter="a", n=n))
                    await projection.wait(token, timeout=60.0)
                    row = await projection.fetch_one("SELECT events, last FROM {totals} WHERE counter = ?", ("a",))
                    assert tuple(row) == (n, n)
                async with stage.database.transaction() as tx:
                    nothing = await stage.outbox.record(tx)
                await projection.wait(nothing, timeout=0.0)

    asyncio.run(main())


def test_a_token_that_cannot_be_shown_says_why(staged):
    """Not there yet is a time-out; parked for good, or behind such a one, is `Held`, until an operator drops it."""

    async def main():
        async with staged() as stage:
            projection = totals(stage)
            stage.broken = {1}
            async with hosted(stage, projection):
                async with stage.database.transaction() as tx:
                    first = await stage.outbox.record(tx, stage.Counted(counter="a", n=1))
                async with stage.database.transaction() as tx:
                    second = await stage.outbox.record(tx, stage.Counted(counter="a", n=2))
                await until(lambda: _begun(projection))
                with pytest.raises(ProjectionBehind, match=r"not there yet after 0.01 s"):
                    await projection.wait(first, timeout=0.01)
                async with stage.relaying():
                    for token in (first, second):
                        with pytest.raises(Held, match="holds the event"):
                            await projection.wait(token, timeout=60.0)
                letters = DeadLetters(stage.database)
                dead = [letter for letter in await letters.list() if letter.state == "dead"]
                assert await letters.drop(dead[0].id)
                await projection.wait(second, timeout=60.0)

    async def _begun(projection):
        try:
            return bool(await projection.status())
        except StoreError:
            return False

    asyncio.run(main())


def test_a_rebuild_never_fails_a_read_and_counts_nothing_twice(staged, monkeypatch):
    """Reads go on over the switch, see only whole tables, and the old ones are gone afterwards; a second one may follow."""
    monkeypatch.setattr(module, "GRACE", 0.3)

    async def main():
        async with staged() as stage, stage.relaying():
            projection = totals(stage)
            async with hosted(stage, projection):
                for _ in range(40):
                    await stage.count("a")
                await stage.handed_over()
                reads, done = [], asyncio.Event()

                async def read():
                    while not done.is_set():
                        row = await projection.fetch_one("SELECT events FROM {totals} WHERE counter = 'a'")
                        reads.append(0 if row is None else row[0])
                        await asyncio.sleep(0)

                async def counted(number):
                    row = await projection.fetch_one("SELECT events, last FROM {totals} WHERE counter = 'a'")
                    return row is not None and tuple(row) == (number, number)

                await until(lambda: counted(40))
                reading = asyncio.create_task(read())
                for generation, expected in ((2, 50), (3, 60)):
                    assert await projection.rebuild()
                    for _ in range(10):
                        await stage.count("a")

                    async def switched(wanted=generation):
                        return (await projection.status()).live == wanted

                    await until(switched)
                    await until(lambda wanted=expected: counted(wanted))
                done.set()
                await reading
                assert min(reads) >= 40
                assert reads == sorted(reads)

                async def dropped():
                    groups = await stage.database.fetch_all("SELECT DISTINCT consumer FROM skerry_positions")
                    return not {projection.group(2)} & {row[0] for row in groups}

                await until(dropped)

    asyncio.run(main())


def test_a_new_version_stands_beside_the_old_one(staged):
    """Code of another version makes tables of its own from the start of the log; the old ones are as they were."""

    async def main():
        async with staged() as stage, stage.relaying():
            old, new = totals(stage), totals(stage, version=2, add=10)
            async with hosted(stage, old), hosted(stage, new):
                async with stage.database.transaction() as tx:
                    await stage.outbox.record(tx, stage.Counted(counter="a", n=1))
                    token = await stage.outbox.record(tx, stage.Counted(counter="a", n=2))
                await old.wait(token, timeout=60.0)
                await new.wait(token, timeout=60.0)
                assert [row[0] for row in await old.fetch_all("SELECT events FROM {totals}")] == [2]
                assert [row[0] for row in await new.fetch_all("SELECT events FROM {totals}")] == [20]

    asyncio.run(main())


def test_a_restart_goes_on_where_it_stopped(staged):
    """Stopped in the middle and begun again, also by another process's code, each event has counted once."""

    async def main():
        async with staged() as stage, stage.relaying():
            total = 0
            for _ in range(4):
                for _ in range(15):
                    await stage.count("a")
                total += 15
                projection = totals(stage)
                async with hosted(stage, projection):
                    async with stage.database.transaction() as tx:
                        token = await stage.outbox.record(tx, stage.Counted(counter="b", n=total))
                    if total % 2:
                        continue
                    await projection.wait(token, timeout=60.0)
                    row = await projection.fetch_one("SELECT events FROM {totals} WHERE counter = 'a'")
                    assert row[0] == total

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Bad-Name", "tables": TABLES}, "lower case letters"),
        ({"name": "ok", "tables": {}}, "has no tables"),
        ({"name": "ok", "tables": {"x; DROP": "a TEXT"}}, "lower case letters"),
        ({"name": "ok", "tables": TABLES, "version": 0}, "count from 1"),
        ({"name": "a_1_2_t", "tables": TABLES}, "without _1_2_"),
        ({"name": "o" * 31, "tables": {"t" * 18: "a TEXT"}}, "over 48 letters"),
    ],
)
def test_a_projection_that_cannot_be_is_refused(options, message):
    """The error comes where it is declared, and names it."""
    with pytest.raises(ConfigurationError, match=message):
        Projection(**options)


def test_an_unknown_table_and_a_missing_host_are_named():
    """Mistakes in SQL and wiring say which projection they are about."""
    projection = Projection("totals", tables=TABLES)
    with pytest.raises(ConfigurationError, match="'totals' has no table 'other'"):
        projection.named("SELECT * FROM {other}", 1)
    with pytest.raises(ConfigurationError, match="no service hosts the projection 'totals'"):
        asyncio.run(projection.rebuild())
