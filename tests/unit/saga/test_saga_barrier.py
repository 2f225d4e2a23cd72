from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skerry.errors import LateAction, ReceiptConflict
from skerry.saga import Barrier, Rejected
from skerry.store import RETENTION, Receipts, SQLiteDatabase, Transaction
from skerry.testing import VirtualClock, run_virtual


class Till:
    """Counts what was put in and taken out; the participant."""

    def __init__(self) -> None:
        self.put: list[int] = []
        self.taken: list[Any] = []

    async def in_(self) -> tuple[int, ...]:
        self.put.append(1)
        return (1, 2)

    async def out(self, answer: Any) -> None:
        self.taken.append(answer)


def guarded(tmp_path: Path, act: Callable[[Barrier, Transaction, Till, VirtualClock], Awaitable[None]]) -> None:
    """Run `act` with a barrier, inside one transaction."""

    async def main(clock: VirtualClock) -> None:
        database = SQLiteDatabase(tmp_path / "x.db", owner="x", clock=clock)
        await database.open()
        await Receipts.prepare(database)
        try:
            async with database.transaction() as tx:
                await act(Barrier(clock=clock), tx, Till(), clock)
        finally:
            await database.close()

    run_virtual(main)


def test_an_action_has_its_effect_once(tmp_path: Path) -> None:
    """The second time an action gets the stored answer, the same plain JSON as the first time, and does nothing."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        answers = [await barrier.act(tx, "s:pay:do", till.in_, given={"a": 1, "b": 2}) for _ in range(2)]
        answers.append(await barrier.act(tx, "s:pay:do", till.in_, given={"b": 2, "a": 1}))
        assert answers == [[1, 2]] * 3
        assert till.put == [1]

    guarded(tmp_path, act)


def test_a_key_with_another_input_is_refused(tmp_path: Path) -> None:
    """A key that comes back with another input raises `ReceiptConflict`; nothing happens."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        await barrier.act(tx, "s:pay:do", till.in_, given=1)
        with pytest.raises(ReceiptConflict):
            await barrier.act(tx, "s:pay:do", till.in_, given=2)
        assert till.put == [1]

    guarded(tmp_path, act)


def test_an_undone_action_is_refused_for_ever(tmp_path: Path) -> None:
    """After its compensation an action raises `LateAction`, whether it had come before or not, and has no effect."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        assert not await barrier.undo(tx, "s:early:undo", till.out)
        await barrier.act(tx, "s:pay:do", till.in_)
        assert await barrier.undo(tx, "s:pay:undo", till.out)
        for key in ("s:early:do", "s:pay:do"):
            with pytest.raises(LateAction):
                await barrier.act(tx, key, till.in_)
        assert (till.put, till.taken) == ([1], [[1, 2]])

    guarded(tmp_path, act)


def test_a_compensation_has_its_effect_once(tmp_path: Path) -> None:
    """It runs once, with the action's answer; repeated, or for an action that never came, it does nothing and says so."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        await barrier.act(tx, "s:pay:do", till.in_)
        assert [await barrier.undo(tx, "s:pay:undo", till.out) for _ in range(3)] == [True, False, False]
        assert [await barrier.undo(tx, "s:never:undo", till.out) for _ in range(2)] == [False, False]
        assert till.taken == [[1, 2]]

    guarded(tmp_path, act)


def test_a_failed_action_leaves_no_receipt(tmp_path: Path) -> None:
    """An action that raises may come again."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        async def fail() -> None:
            raise OSError

        with pytest.raises(OSError):
            await barrier.act(tx, "s:pay:do", fail)
        assert await barrier.act(tx, "s:pay:do", till.in_) == [1, 2]

    guarded(tmp_path, act)


def test_keys_older_than_receipts_are_refused(tmp_path: Path) -> None:
    """A saga that began longer ago than receipts are kept gets `LateAction` for actions and compensations alike."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        saga_id = clock.uuid()
        clock.step_wall(RETENTION - 1)
        assert await barrier.act(tx, f"{saga_id}:one:do", till.in_) == [1, 2]
        clock.step_wall(2)
        for step in ("one", "two"):
            with pytest.raises(LateAction, match="older"):
                await barrier.act(tx, f"{saga_id}:{step}:do", till.in_)
            with pytest.raises(LateAction, match="older"):
                await barrier.undo(tx, f"{saga_id}:{step}:undo", till.out)
        assert (till.put, till.taken) == ([1], [])

    guarded(tmp_path, act)


def test_keys_that_are_not_a_sagas_work_too(tmp_path: Path) -> None:
    """Any text of 1 to 255 characters is a key of its own, also one with colons or the id of something else."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        keys = ["order-1", "order:1", "a" * 255, ":do", "8c5ee3fc-9e3c-4b36-8a68-5d4c8f1cb0a1:x:do"]
        for key in keys * 2:
            await barrier.act(tx, key, till.in_)
        assert len(till.put) == len(keys)

    guarded(tmp_path, act)


@pytest.mark.parametrize("key", ["", " ", "a" * 256], ids=["empty", "blank", "long"])
def test_what_is_no_key_guards_nothing(tmp_path: Path, key: str) -> None:
    """Without a usable key an action would be mistaken for another one's repetition, so it is rejected."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        with pytest.raises(Rejected, match="1 to 255"):
            await barrier.act(tx, key, till.in_)
        with pytest.raises(Rejected, match="1 to 255"):
            await barrier.undo(tx, key, till.out)

    guarded(tmp_path, act)


def test_scopes_are_apart(tmp_path: Path) -> None:
    """Two barriers of one service with different scopes do not see each other's keys."""

    async def act(barrier: Barrier, tx: Transaction, till: Till, clock: VirtualClock) -> None:
        await barrier.act(tx, "k", till.in_)
        await Barrier(scope="other", clock=clock).act(tx, "k", till.in_)
        assert till.put == [1, 1]

    guarded(tmp_path, act)
