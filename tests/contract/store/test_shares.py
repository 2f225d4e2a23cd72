"""Parts of a role that processes share, on every engine; and the fence that each part has on PostgreSQL."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skerry.errors import LeaseLost
from skerry.store import connect

PATIENCE = 60.0


@asynccontextmanager
async def opening(address, folder):
    database = connect(address, owner="order", data=folder)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def becomes(share, parts):
    """Wait until the share is this, as one would who works between the looks."""
    async with asyncio.timeout(PATIENCE):
        while share.parts != parts:
            await share.settle()
            await asyncio.sleep(0.01)


def test_a_share_follows_who_comes_and_goes(address, tmp_path):
    """Alone it is all; with a second one each has half; when that one has left it is all again."""

    async def main():
        async with (
            opening(address, tmp_path) as one,
            opening(address, tmp_path) as two,
            one.share("relay", 4, changed=lambda: None) as first,
        ):
            assert first.whole
            async with two.share("relay", 4, changed=lambda: None) as second:
                await asyncio.gather(becomes(first, (0, 2)), becomes(second, (1, 3)))
            await becomes(first, (0, 1, 2, 3))

    asyncio.run(main())


def test_who_leads_the_whole_role_keeps_everybody_from_its_parts(address, tmp_path):
    """A process of the release before leads it all: nobody has a part until it has gone."""

    async def main():
        async with opening(address, tmp_path) as old, opening(address, tmp_path) as new:
            async with old.lead("relay"), new.share("relay", 4, changed=lambda: None) as share:
                assert share.parts == ()
                await asyncio.sleep(0)
                await share.settle()
                assert share.parts == ()
            async with new.share("relay", 4, changed=lambda: None) as share:
                assert share.whole

    asyncio.run(main())


@pytest.fixture
def shared(postgres, request):
    """An open database with a table `t (n)`, a share of it, and a way to take a part away behind its back."""

    @asynccontextmanager
    async def manager():
        url = postgres.own_database(request.node.name[:50])
        async with opening(url, Path()) as database, opening(url, Path()) as another:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")

            async def lose(part):
                async with another.transaction() as tx:
                    await tx.execute("UPDATE skerry_leases SET epoch = epoch + 1 WHERE role = ?", (f"relay-{part}",))

            async with database.share("relay", 4, changed=lambda: None) as share:
                yield database, share, lose

    return manager


def test_each_part_has_a_fence_of_its_own(shared):
    """A part that is another's by now fails the transaction that needs it, and no other one."""

    async def main():
        async with shared() as (database, share, lose):
            with pytest.raises(LeaseLost):  # noqa: PT012 - the block is the thing
                async with share.transaction((0, 1)) as tx:
                    tx.later("INSERT INTO t VALUES (?)", (1,))
                    await lose(1)
            async with share.transaction((0, 2, 3)) as tx:
                tx.later("INSERT INTO t VALUES (?)", (2,))
            assert [row[0] for row in await database.fetch_all("SELECT n FROM t")] == [2]

    asyncio.run(main())


def test_the_fence_of_several_parts_travels_with_the_commit_and_makes_nothing(shared):
    """The server compares with what is written there. It plans that with each COMMIT, and would run what makes it."""

    async def main():
        async with shared() as (database, share, _):
            sent = []
            async with share.transaction((0, 1, 2, 3)) as tx:
                tx.connection.add_query_logger(lambda message: sent.append(message.query))
            (message,) = sent
            assert message.endswith("COMMIT")
            assert "= ANY (E'{" in message, message
            odd = "a \"role\", \\ in '{parts}'"
            async with database.share(odd, 2, changed=lambda: None) as other, other.transaction((0, 1)):
                assert other.whole

    asyncio.run(main())


def test_a_lost_part_is_noticed_and_the_rest_stays(shared):
    """Whoever has lost one part to another finds out at its next look, and keeps the others."""

    async def main():
        async with shared() as (_, share, lose):
            await lose(2)
            async with asyncio.timeout(PATIENCE):
                while 2 in share.parts:
                    await asyncio.sleep(0.01)
            assert share.parts == (0, 1, 3)
            share.check()

    asyncio.run(main())


def test_who_was_not_renewed_in_time_trusts_its_parts_no_more(shared):
    """As after a stop of the whole process: its own clock says so, before it asks the database."""

    async def main():
        async with shared() as (database, share, _):

            class Later:
                def monotonic(self):
                    return database.clock.monotonic() + 60.0

            share._roles._clock = Later()
            with pytest.raises(LeaseLost, match="not renewed in time"):
                share.check()

    asyncio.run(main())
