from contextlib import asynccontextmanager

import pytest

from skerry.errors import ReceiptConflict
from skerry.store import RETENTION, Receipt, Receipts
from skerry.testing import run_virtual


@pytest.fixture
def kept(opened):
    """A database with receipts, and the receipts."""

    @asynccontextmanager
    async def manager(clock):
        async with opened(clock=clock) as database:
            await Receipts.prepare(database)
            yield database, Receipts(clock=clock)

    return manager


def test_a_key_has_one_receipt(kept):
    """The first insert wins; a second says False and changes nothing; scopes do not meet."""

    async def main(clock):
        async with kept(clock) as (database, receipts), database.transaction() as tx:
            assert await receipts.find(tx, "pay", "k1") is None
            assert await receipts.insert(tx, "pay", "k1", "done", fingerprint="f", result="7")
            assert not await receipts.insert(tx, "pay", "k1", "other", result="8")
            assert await receipts.insert(tx, "ship", "k1", "done")
            assert await receipts.find(tx, "pay", "k1") == Receipt("pay", "k1", "done", "f", "7")

    run_virtual(main)


def test_a_key_with_another_input_conflicts(kept):
    """Finding a receipt that was written for another input raises ReceiptConflict; the same input finds it."""

    async def main(clock):
        async with kept(clock) as (database, receipts), database.transaction() as tx:
            await receipts.insert(tx, "pay", "k1", "done", fingerprint="f")
            assert await receipts.find(tx, "pay", "k1", fingerprint="f")
            with pytest.raises(ReceiptConflict, match="another input"):
                await receipts.find(tx, "pay", "k1", fingerprint="g")

    run_virtual(main)


def test_a_receipt_goes_with_its_transaction(kept):
    """A receipt of a transaction that rolled back does not exist."""

    async def main(clock):
        async with kept(clock) as (database, receipts):
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await receipts.insert(tx, "pay", "k1", "done")
                    raise KeyError
            async with database.transaction() as tx:
                assert await receipts.insert(tx, "pay", "k1", "done")
                await receipts.update(tx, "pay", "k1", "undone", result="9")
                assert (await receipts.find(tx, "pay", "k1")).state == "undone"

    run_virtual(main)


def test_a_receipt_is_forgotten_only_for_the_input_it_was_written_for(kept):
    """delete says whether there was one; another input, scope or key leaves it, and the key is free again after it."""

    async def main(clock):
        async with kept(clock) as (database, receipts), database.transaction() as tx:
            await receipts.insert(tx, "lock", "k1", "held", fingerprint="f")
            for scope, key, fingerprint in (("lock", "k1", "g"), ("lock", "k2", "f"), ("pay", "k1", "f")):
                assert not await receipts.delete(tx, scope, key, fingerprint=fingerprint)
            assert await receipts.delete(tx, "lock", "k1", fingerprint="f")
            assert not await receipts.delete(tx, "lock", "k1", fingerprint="f")
            assert await receipts.insert(tx, "lock", "k1", "held", fingerprint="g")

    run_virtual(main)


def test_receipts_go_after_their_retention_in_bounded_steps(kept):
    """prune deletes only what is past its retention, at most a thousand at a time."""

    async def main(clock):
        async with kept(clock) as (database, receipts), database.transaction() as tx:
            for n in range(1100):
                await receipts.insert(tx, "pay", f"old{n}", "done")
            clock.advance(RETENTION)
            await receipts.insert(tx, "pay", "new", "done")
            assert await receipts.prune(tx) == 0
            clock.advance(1)
            assert [await receipts.prune(tx) for _ in range(3)] == [1000, 100, 0]
            assert await receipts.find(tx, "pay", "new")

    run_virtual(main)
