from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driven import CountingDatabase, Script, driving, one_step, play, two_steps

from skerry.errors import DefinitionError, NestedTransaction, NoTransaction, ReceiptConflict, UnknownSaga
from skerry.saga import Engine, Rejected, Saga
from skerry.signals import SagaChanged, Signal
from skerry.testing import VirtualClock


def does(script: Script) -> Any:
    async def step(ctx, given):
        return await script(ctx)

    return step


def test_the_same_key_is_the_same_saga(tmp_path: Path) -> None:
    """A second start with the same key and input gives the first saga, whatever order its fields come in; another input fails."""
    step = Script(1)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(step, Script(None), Script(2))
        async with driving(database, saga) as engine:
            first = await engine.run(saga, {"a": 1, "b": 2}, key="1")
            again = await engine.run(saga, {"b": 2, "a": 1}, key="1")
            assert again == first
            with pytest.raises(ReceiptConflict, match="another input"):
                await engine.run(saga, {"a": 2}, key="1")
            assert await engine.find(saga, "1") == await engine.find("two", "1") == first
            assert await engine.find(saga, "2") is None

    play(tmp_path, act)
    assert len(step.calls) == 1


def test_concurrent_starts_of_one_key_are_one_saga(tmp_path: Path) -> None:
    """However many start it at the same moment, each step runs once."""
    step = Script(1)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(step, Script(None), Script(2))
        async with driving(database, saga) as engine:
            ended = await asyncio.gather(*(engine.run(saga, None, key="1") for _ in range(20)))
            assert len({status.id for status in ended}) == 1

    play(tmp_path, act)
    assert len(step.calls) == 1


def test_a_saga_starts_only_if_the_callers_transaction_commits(tmp_path: Path, signals: list[Signal]) -> None:
    """After a roll-back there is no saga; before the commit it does nothing; a transaction that has ended is refused."""
    step = Script(1)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(step, Script(None), Script(2))
        async with driving(database, saga) as engine:
            saga_id = ""
            with suppress(ZeroDivisionError):
                async with database.transaction() as tx:
                    saga_id = await engine.start(tx, saga, None, key="1")
                    raise ZeroDivisionError
            with pytest.raises(UnknownSaga):
                await engine.wait(saga_id)
            async with database.transaction() as tx:
                await engine.start(tx, saga, None, key="1")
                await clock.sleep(5.0)
                assert step.calls == []
                assert not [signal for signal in signals if isinstance(signal, SagaChanged)]
            with pytest.raises(NoTransaction):
                await engine.start(tx, saga, None, key="2")

    play(tmp_path, act)


def test_only_sagas_that_were_added_start(tmp_path: Path) -> None:
    """A definition the engine was not given is refused by name."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        engine = Engine("own", database, clock=clock)
        assert not await engine.needed()
        async with database.transaction() as tx:
            with pytest.raises(UnknownSaga, match="'nobody' version 1 was not added to the service 'own'"):
                await engine.start(tx, Saga("nobody"), None, key="1")

    play(tmp_path, act)


def test_sagas_of_another_connection_are_taken_up(tmp_path: Path) -> None:
    """What another process started is found at the next look."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        stranger = Engine("own", database, clock=clock)
        stranger.add(saga)
        async with driving(database, saga):
            assert (await stranger.run(saga, None, key="1")).status == "completed"
            assert clock.monotonic() < 3.0

    play(tmp_path, act)


def test_many_starts_share_a_commit(tmp_path: Path) -> None:
    """Sagas that begin at the same time are written together; a key that was used is found, with another input refused."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(does(Script(1)))
        async with driving(database, saga) as engine:
            first = await engine.run(saga, "a", key="1")
            before = database.commits
            ended = await asyncio.gather(
                *(engine.run(saga, "a", key=str(number)) for number in range(1, 51)),
                engine.run(saga, "b", key="1"),
                engine.run(saga, "b", key="50"),
                return_exceptions=True,
            )
            assert database.commits - before < 10
        *good, one, other = ended
        assert [status.status for status in good] == ["completed"] * 50
        assert good[0].id == first.id
        assert len({status.id for status in good}) == 50
        assert isinstance(one, ReceiptConflict)
        assert isinstance(other, ReceiptConflict)

    play(tmp_path, act)


def test_what_would_fail_the_commit_of_others_is_refused_before(tmp_path: Path) -> None:
    """A key that is no text to a database, or a run inside a transaction, which would wait for this one."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(does(Script(1)))
        async with driving(database, saga) as engine:
            for key in ("a\x00b", "a\udc80"):
                with pytest.raises(DefinitionError, match="a text without NUL"):
                    await engine.run(saga, None, key=key)
            with pytest.raises(NestedTransaction):
                async with database.transaction():
                    await engine.run(saga, None, key="1")
            assert (await engine.run(saga, None, key="two\nlines")).status == "completed"

    play(tmp_path, act)


def test_what_run_returns_is_what_the_journal_holds(tmp_path: Path) -> None:
    """The end of a saga that was started here is known without asking, and no different."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        done, undone = one_step(does(Script({"a": 1}))), two_steps(Script(1), Script(None), Script(Rejected("no")))
        async with driving(database, done, undone) as engine:
            for saga in (done, undone):
                told = await engine.run(saga, "x", key="1")
                held = await engine.find(saga, "1")
                assert held is not None
                assert replace(told, started_at=0.0) == replace(held, started_at=0.0)
                assert told.started_at == pytest.approx(held.started_at, abs=1.0)

    play(tmp_path, act)
