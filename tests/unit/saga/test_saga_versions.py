from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from driven import CountingDatabase, driving, one_step, play, start

from skerry.saga import Engine, Saga
from skerry.testing import VirtualClock


def _versioned(*names: str, version: int = 1, undo: bool = False) -> Saga:
    saga = Saga("changing", version=version)

    async def step(ctx, given):
        if ctx.attempt == 1 and given == "wait":
            await asyncio.sleep(3600)

    async def unstep(ctx, given, result):
        """Undo nothing."""

    for name in names:
        step.__name__ = name
        made = saga.step(timeout=10_000)(step)
        if undo:
            made.compensate(unstep)
    return saga


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (_versioned("a", "c"), "the steps changed without a new version: - step b, + step c"),
        (_versioned("a", "b", undo=True), "+ step a with compensation"),
        (_versioned("a", "b", version=2), "version 1 of 'changing' is not known here, only [2]"),
    ],
    ids=["a step renamed", "a compensation more", "the version gone"],
)
def test_a_definition_that_does_not_fit_is_never_guessed(tmp_path: Path, now: Saga, reason: str) -> None:
    """A saga whose steps changed, or whose version is gone, is stuck and says what changed; with the old code it goes on."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        before = _versioned("a", "b")
        async with driving(database, before, within=0.5) as engine:
            saga_id = await start(engine, database, before, value="wait")
            await clock.sleep(1.0)
        async with driving(database, now) as engine:
            stuck = await engine.wait(saga_id)
            assert stuck.status == "stuck"
            assert reason in stuck.reason
            assert await engine.retry(saga_id)
            assert (await engine.wait(saga_id)).status == "stuck"
        async with driving(database, before) as engine:
            assert await engine.retry(saga_id)
            for step in before.steps:
                step.timeout = 1.0
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)


def test_a_journal_of_other_types_is_stuck(tmp_path: Path) -> None:
    """When what is kept does not fit the declared types any more, the saga is stuck; the kept data is not shown."""

    async def slow(ctx, given):
        await asyncio.sleep(3600)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        before = one_step(slow, timeout=10_000)
        async with driving(database, before, within=0.5) as engine:
            saga_id = await start(engine, database, before, value="canary")
            await clock.sleep(1.0)
        now = Saga("one", input=int)
        now.step()(slow)
        async with driving(database, now) as engine:
            stuck = await engine.wait(saga_id)
            assert (stuck.status, stuck.reason) == (
                "stuck",
                "the journal does not fit the types of 'one': ValidationError",
            )

    play(tmp_path, act)


def test_sagas_that_a_release_forgot_are_seen(tmp_path: Path) -> None:
    """A service that hosts no sagas any more still needs its engine while old ones are open, and shows them as stuck."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        before = _versioned("a")
        engine = Engine("own", database, clock=clock)
        engine.add(before)
        saga_id = await start(engine, database, before)
        async with driving(database) as forgetful:
            assert await forgetful.needed()
            assert (await forgetful.wait(saga_id)).status == "stuck"
            assert not await forgetful.needed()

    play(tmp_path, act)


def test_two_versions_run_side_by_side(tmp_path: Path) -> None:
    """Sagas of an old version finish as they began while new ones take the new steps."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        old, new = _versioned("a", "b"), _versioned("a", "b", "c", version=2)
        async with driving(database, old, new) as engine:
            first = await engine.run(old, None, key="1")
            second = await engine.run(new, None, key="2")
            assert [list(status.steps) for status in (first, second)] == [["a", "b"], ["a", "b", "c"]]

    play(tmp_path, act)
