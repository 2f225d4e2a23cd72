from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

import pytest
from driven import CountingDatabase, Script, driving, one_step, play, start, two_steps

from skerry.errors import CircuitOpen
from skerry.resilience import Retry
from skerry.saga import Rejected
from skerry.signals import SagaChanged, Signal
from skerry.testing import VirtualClock


@pytest.mark.parametrize(
    ("outcome", "undo_pivot", "status", "undone"),
    [
        (Rejected("declined"), False, "compensated", ["one"]),
        (Rejected("declined"), True, "compensated", ["one"]),
        (TimeoutError(), True, "compensated", ["two", "one"]),
        (TimeoutError(), False, "stuck", []),
        (CircuitOpen("never sent"), False, "compensated", ["one"]),
        (CircuitOpen("never sent"), True, "compensated", ["one"]),
    ],
    ids=["rejected", "rejected, undoable", "unknown, undoable", "unknown", "never sent", "never sent, undoable"],
)
def test_what_a_pivot_decides(
    tmp_path: Path, outcome: Exception, undo_pivot: bool, status: str, undone: list[str]
) -> None:
    """A rejected pivot undoes what was before it; one of unknown outcome also itself, and is stuck where it cannot."""
    undo, undo_second = Script(None), Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), undo, Script(outcome), undo_second=undo_second if undo_pivot else None)
        async with driving(database, saga) as engine:
            assert (await engine.run(saga, None, key="1")).status == status

    play(tmp_path, act)
    assert [ctx.step for ctx in (*undo_second.calls, *undo.calls)] == undone


@pytest.mark.parametrize(
    ("second", "undo", "kind", "healed"),
    [
        (Script(TimeoutError(), TimeoutError(), 2), Script(None), "pivot", "completed"),
        (Script(TimeoutError(), TimeoutError(), Rejected("no")), Script(None), "pivot", "compensated"),
        (Script(OSError(), OSError(), 2), Script(None), "retriable", "completed"),
        (Script(Rejected("no"), Rejected("no"), 2), Script(None), "retriable", "completed"),
        (Script(Rejected("no")), Script(OSError(), OSError(), None), "pivot", "compensated"),
        (Script(Rejected("no")), Script(Rejected("no"), Rejected("no"), None), "pivot", "compensated"),
    ],
    ids=["pivot", "pivot, then rejected", "retriable", "retriable rejected", "compensation", "compensation rejected"],
)
def test_stuck_is_seen_and_has_a_way_out(
    tmp_path: Path, signals: list[Signal], second: Script, undo: Script, kind: str, healed: str
) -> None:
    """When attempts are over a saga is stuck, says so, owes what it owed, and goes on in its direction when retried."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), undo, second, kind=kind)
        async with driving(database, saga) as engine:
            stuck = await engine.run(saga, None, key="1")
            assert (stuck.status, await engine.stuck(), stuck.steps["one"]) == ("stuck", 1, "done")
            assert stuck.reason.startswith(("two: ", "undoing one: "))
            await clock.sleep(60.0)
            assert len(second.calls) + len(undo.calls) <= 3, "nothing is tried while it is stuck"
            assert await engine.retry(stuck.id)
            assert not await engine.retry(stuck.id), "it goes on already"
            assert (await engine.wait(stuck.id)).status == healed
            assert not await engine.retry(stuck.id), "it has ended"
            assert not await engine.retry("nobody")

    play(tmp_path, act)
    changes = [signal.status for signal in signals if isinstance(signal, SagaChanged)]
    assert changes[0] == "running"
    assert changes[-1] == healed
    assert "stuck" in changes


def test_steps_without_compensation_are_passed_on_the_way_back(tmp_path: Path) -> None:
    """A saga in which nothing has to be undone is compensated at once."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(no)
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            assert (status.status, status.reason, dict(status.steps)) == (
                "compensated",
                "no: sold out",
                {"no": "rejected"},
            )

    async def no(ctx, given):
        raise Rejected("sold out")

    play(tmp_path, act)


def test_a_first_step_that_is_rejected_at_once_is_not_undone(tmp_path: Path) -> None:
    """What surely never happened is not compensated: a fresh saga knows that nothing was under way before."""
    undo = Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(Rejected("no")), undo, Script(1))
        async with driving(database, saga) as engine:
            assert (await engine.run(saga, None, key="1")).status == "compensated"

    play(tmp_path, act)
    assert undo.calls == []


def test_a_step_that_is_cancelled_from_inside_is_a_failed_attempt(tmp_path: Path) -> None:
    """A cancellation that nobody asked of the saga, such as that of a task it waits for, is counted and ends."""
    attempts: list[int] = []

    async def lost(ctx, given):
        attempts.append(ctx.attempt)
        task = asyncio.create_task(asyncio.sleep(1))
        task.cancel()
        await task

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(lost)
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            assert (status.status, status.reason) == (
                "compensated",
                "lost: RuntimeError: it was cancelled from inside",
            )

    play(tmp_path, act)
    assert attempts == [1, 2]


def test_a_reason_that_is_no_text_does_not_stop_a_saga(tmp_path: Path) -> None:
    """An error whose text a database cannot hold is written as well as it goes."""

    async def odd(ctx, given):
        raise OSError("file \udce4.txt")

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(odd)
        async with driving(database, saga) as engine:
            async with asyncio.timeout(60.0):
                status = await engine.run(saga, None, key="1")
            assert (status.status, status.reason) == ("compensated", "odd: OSError: file ?.txt")

    play(tmp_path, act)


def test_giving_up_leaves_the_traceback_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks for the reason of a saga's turn finds the step's last error, with its traceback."""

    async def broken(ctx, given):
        raise KeyError("nope")

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(broken)
        async with driving(database, saga) as engine:
            await engine.run(saga, None, key="1")

    with caplog.at_level(logging.WARNING, "skerry.saga"):
        play(tmp_path, act)
    (record,) = [each for each in caplog.records if each.name.startswith("skerry.saga")]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_a_compensation_that_fails_waits_before_its_next_attempt(tmp_path: Path) -> None:
    """What hurried the saga on its way forward, such as its own failure, is no hurry on its way back."""
    at: list[float] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def undo(ctx):
            at.append(clock.monotonic())
            if len(at) < 3:
                raise OSError("closed")

        saga = two_steps(Script(1), undo, Script(Rejected("no")))
        saga.steps[0].compensation_retry = Retry(5, base=100.0, cap=100.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(await start(engine, database, saga))).status == "compensated"

    play(tmp_path, act)
    assert all(later - earlier > 1.0 for earlier, later in itertools.pairwise(at))
