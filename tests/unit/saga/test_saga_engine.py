from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from driven import TWICE, CountingDatabase, driving, one_step, play

from skerry import context
from skerry.context import CallContext
from skerry.errors import CircuitOpen, NoTransaction, ReceiptConflict, StoreError, UnknownSaga
from skerry.resilience import Retry
from skerry.saga import Engine, Rejected, Saga
from skerry.saga.engine import MAX_RUNNING
from skerry.signals import SagaChanged, SagasRecovered, SagaStepFailed, Signal
from skerry.testing import VirtualClock


class Script:
    """What a step does, attempt by attempt: an exception is raised, anything else returned; the last one for ever."""

    def __init__(self, *acts: Any) -> None:
        self.acts = list(acts)
        self.calls: list[Any] = []

    async def __call__(self, ctx: Any) -> Any:
        self.calls.append(ctx)
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, BaseException):
            raise act
        return act


def two_steps(
    first: Script, undo: Script, second: Script, *, kind: str = "pivot", undo_second: Script | None = None
) -> Saga:
    """A compensatable step and another one."""
    saga = Saga("two")

    @saga.step(retry=TWICE)
    async def one(ctx, given):
        return await first(ctx)

    @one.compensate
    async def unone(ctx, given, result):
        await undo(ctx)

    one.compensation_retry = TWICE

    async def two(ctx, given):
        return await second(ctx)

    step = getattr(saga, kind)(retry=TWICE)(two)
    if undo_second is not None:

        async def untwo(ctx, given, result):
            await undo_second(ctx)

        step.compensate(untwo)
        step.compensation_retry = TWICE
    return saga


# --- where a saga ends


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
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


# --- how it starts


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


# --- what a step sees


def test_a_step_sees_its_deadline_and_that_the_engine_retries(tmp_path: Path) -> None:
    """Inside a step the time left is the step's own, not the starter's, and clients know that a layer above retries."""
    seen: list[CallContext] = []

    async def look(ctx, given):
        seen.append(context.current())

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(look, timeout=7.0)
        async with driving(database, saga) as engine:
            with context.use(CallContext(deadline=clock.monotonic() + 0.01)):
                saga_id = await _start(engine, database, saga)
            await engine.wait(saga_id)
            assert seen[0].deadline == pytest.approx(7.0)
            assert seen[0].retries_above

    play(tmp_path, act)


def test_a_saga_is_part_of_the_trace_that_started_it(tmp_path: Path, signals: list[Signal]) -> None:
    """Steps before and after a restart, and the saga's signals, carry the trace of the request that started it."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    seen: list[str] = []

    async def flaky(ctx, given):
        seen.append(context.current().trace_id)
        if len(seen) == 1:
            await asyncio.sleep(3600)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(flaky, timeout=100.0)
        async with driving(database, saga, within=1.0) as engine:
            with context.use(CallContext(traceparent=f"00-{trace}-b7ad6b7169203331-01")):
                saga_id = await _start(engine, database, saga)
            await clock.sleep(1.0)
        async with driving(database, saga) as engine:
            await engine.wait(saga_id)

    play(tmp_path, act)
    assert seen == [trace, trace]


def test_an_attempt_is_bounded_and_its_key_stays(tmp_path: Path, signals: list[Signal]) -> None:
    """Each attempt ends at the step's time-out; the key is the same, the attempt is counted and told."""
    keys: list[tuple[str, int]] = []

    async def slow(ctx, given):
        keys.append((ctx.key, ctx.attempt))
        await asyncio.sleep(3600)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(slow, timeout=2.0)
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            assert keys == [(f"{status.id}:slow:do", 1), (f"{status.id}:slow:do", 2)]
            assert 4.0 <= clock.monotonic() < 4.6

    play(tmp_path, act)
    failed = [(s.step, s.action, s.attempt, s.error) for s in signals if isinstance(s, SagaStepFailed)]
    assert failed == [("slow", "do", 1, "TimeoutError"), ("slow", "do", 2, "TimeoutError")]


def test_waits_between_attempts_are_repeatable(tmp_path: Path) -> None:
    """The waits are drawn from the engine's clock, so a run with one seed always takes the same time."""

    async def broken(ctx, given):
        raise OSError

    async def act(database: CountingDatabase, clock: VirtualClock) -> float:
        saga = one_step(broken, retry=Retry(10, base=1.0, cap=60.0))
        async with driving(database, saga) as engine:
            await engine.run(saga, None, key="1")
        return clock.monotonic()

    first = play(tmp_path / "a", act)
    assert first == play(tmp_path / "b", act)
    assert first > 1.0


# --- stopping, starting again, and two of them


async def _start(engine: Engine, database: CountingDatabase, saga: Saga, key: str = "1", value: Any = None) -> str:
    async with database.transaction() as tx:
        return await engine.start(tx, saga, value, key=key)


def test_a_stop_lets_a_step_finish(tmp_path: Path) -> None:
    """A step under way is finished and written down within the time given; the next one waits for the next engine."""
    second = Script(2)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        @saga.step()
        async def one(ctx, given):
            await clock.sleep(3.0)

        @saga.step()
        async def two(ctx, given):
            await second(ctx)

        async with driving(database, saga) as engine:
            saga_id = await _start(engine, database, saga)
            await clock.sleep(1.0)
        assert clock.monotonic() == pytest.approx(3.0)
        status = await engine.find(saga, "1")
        assert status is not None
        assert (dict(status.steps), second.calls) == ({"one": "done"}, [])
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_stop_does_not_wait_for_a_saga_between_attempts(tmp_path: Path, direction: str) -> None:
    """A saga that sleeps before its next attempt ends its sleep when the engine stops, and goes on later."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        failing = Script(OSError(), OSError(), 2)
        undo = Script(OSError(), None) if direction == "back" else Script(None)
        second = Script(Rejected("no")) if direction == "back" else failing
        saga = two_steps(Script(1), undo, second, kind="pivot" if direction == "back" else "retriable")
        for step in saga.steps:
            step.retry = step.compensation_retry = Retry(5, base=1000.0, cap=1000.0)
        async with driving(database, saga) as engine:
            saga_id = await _start(engine, database, saga)
            await clock.sleep(0.5)
            before = clock.monotonic()
        assert clock.monotonic() == before
        for step in saga.steps:
            step.retry = step.compensation_retry = Retry(5, base=0.0, cap=0.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == ("compensated" if direction == "back" else "completed")

    play(tmp_path, act)


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_step_that_is_cut_off_by_a_stop_is_done_again(tmp_path: Path, direction: str) -> None:
    """A step or compensation cancelled at the end of a stop is not taken for done: it is asked again, with the same key."""
    asked: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        async def slow(ctx):
            asked.append(ctx.key)
            if len(asked) == 1:
                await clock.sleep(3600)

        @saga.step(timeout=10_000)
        async def one(ctx, given):
            if direction == "forward":
                await slow(ctx)

        @one.compensate
        async def unone(ctx, given, result):
            await slow(ctx)

        @saga.step()
        async def two(ctx, given):
            if direction == "back":
                raise Rejected("no")

        async with driving(database, saga, within=2.0) as engine:
            saga_id = await _start(engine, database, saga)
            await clock.sleep(1.0)
        assert clock.monotonic() == pytest.approx(3.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == ("completed" if direction == "forward" else "compensated")

    play(tmp_path, act)
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_only_one_engine_drives_a_database(tmp_path: Path) -> None:
    """A second engine waits, also while the first one, told to stop, finishes a step; then it takes over."""
    at_once = most = 0

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                await clock.sleep(2.0)
            finally:
                at_once -= 1

        saga = one_step(slow, timeout=100.0)
        first, second = (Engine("own", database, clock=clock) for _ in range(2))
        first.add(saga)
        second.add(saga)
        serving = [asyncio.create_task(engine.serve()) for engine in (first, second)]
        await clock.sleep(0.1)
        saga_id = await _start(second, database, saga)
        await clock.sleep(1.0)
        await first.stop(serving[0], within=10.0)
        other_id = await _start(second, database, saga, key="2")
        for each in (saga_id, other_id):
            assert (await second.wait(each)).status == "completed"
        await second.stop(serving[1], within=1.0)

    play(tmp_path, act)
    assert most == 1


def test_an_engine_that_waits_for_its_turn_stops_at_once(tmp_path: Path) -> None:
    """Stopping an engine that never led does not wait for the one that does."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database), driving(database, within=0.5):
            await clock.sleep(1.0)
        assert clock.monotonic() < 2.0

    play(tmp_path, act)


def test_an_engine_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    """When the task that serves is cancelled, no step goes on without it."""
    ended: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            try:
                await clock.sleep(4.0)
            finally:
                ended.append(ctx.step)

        saga = one_step(slow)
        engine = Engine("own", database, clock=clock)
        engine.add(saga)
        serving = asyncio.create_task(engine.serve())
        await clock.sleep(0.1)
        await _start(engine, database, saga)
        await clock.sleep(1.0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert ended == ["slow"]

    play(tmp_path, act)


@pytest.mark.parametrize("patience", [0.0, 0.4, 0.9])
def test_whoever_stops_waiting_does_not_stop_the_saga(tmp_path: Path, patience: float) -> None:
    """Cancelling `run` or `wait`, in either direction of the saga, leaves it running to its end, and leaves nothing behind."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        @saga.step()
        async def one(ctx, given):
            await clock.sleep(1.0)

        @one.compensate
        async def unone(ctx, given, result):
            await clock.sleep(1.0)

        @saga.pivot()
        async def two(ctx, given):
            raise Rejected("no")

        async with driving(database, saga) as engine:
            saga_id = await _start(engine, database, saga)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await engine.wait(saga_id)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await engine.run(saga, None, key="1")
            assert (await engine.wait(saga_id)).status == "compensated"
            assert not engine._ended

    play(tmp_path, act)


# --- the definition changes


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
            saga_id = await _start(engine, database, before, value="wait")
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
            saga_id = await _start(engine, database, before, value="canary")
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
        saga_id = await _start(engine, database, before)
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


# --- the database in trouble, and many at once


def test_a_failing_journal_keeps_the_saga_open(tmp_path: Path) -> None:
    """While nothing can be written a saga stands still, the engine says why, and all goes on afterwards with the same keys."""
    step = Script(1)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(step, Script(None), Script(2))
        async with driving(database, saga) as engine:
            saga_id = await _start(engine, database, saga)
            database.failing = True
            await clock.sleep(5.0)
            assert engine.failure == "OperationalError"
            status = await engine.find(saga, "1")
            assert status is not None
            assert (status.status, dict(status.steps)) == ("running", {})
            database.failing = False
            assert (await engine.wait(saga_id)).status == "completed"
            assert engine.failure == ""

    play(tmp_path, act)
    assert len({ctx.key for ctx in step.calls}) == 1


def test_a_failing_look_does_not_end_the_engine(tmp_path: Path) -> None:
    """When the journal cannot be read the engine says so and looks again."""

    class Blind(CountingDatabase):
        blind = True

        async def fetch_one(self, sql: str, parameters: Any = ()) -> Any:
            if self.blind:
                raise StoreError("no light")
            return await super().fetch_one(sql, parameters)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        blind = Blind(database.path, owner="own", clock=clock)
        await blind.open()
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(blind, saga) as engine:
            saga_id = await _start(engine, blind, saga)
            await clock.sleep(2.0)
            assert engine.failure == "StoreError"
            blind.blind = False
            assert (await engine.wait(saga_id)).status == "completed"
            assert engine.failure == ""
        await blind.close()

    play(tmp_path, act)


def test_sagas_share_commits(tmp_path: Path) -> None:
    """Transitions of many sagas at one moment are one commit, not one each."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(database, saga) as engine:
            async with database.transaction() as tx:
                ids = [await engine.start(tx, saga, None, key=str(n)) for n in range(100)]
            before = database.commits
            for saga_id in ids:
                assert (await engine.wait(saga_id)).status == "completed"
            assert database.commits - before < 20

    play(tmp_path, act)


def test_a_restart_with_many_open_sagas_is_paced(tmp_path: Path, signals: list[Signal]) -> None:
    """A thousand open sagas all end after a restart, at most MAX_RUNNING at the same time, and those of meanwhile too."""
    at_once = most = 0

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await clock.sleep(0.1)
            at_once -= 1

        saga = one_step(slow)
        before = Engine("own", database, clock=clock)
        before.add(saga)
        async with database.transaction() as tx:
            for number in range(1000):
                await before.start(tx, saga, None, key=str(number))
        async with driving(database, saga) as engine:
            assert (await engine.run(saga, None, key="meanwhile")).status == "completed"
            while await engine.needed() and (await engine.stats()).get("running"):
                await clock.sleep(0.1)
            assert await engine.stats() == {"completed": 1001}
            assert clock.monotonic() < 5.0

    play(tmp_path, act)
    assert most == MAX_RUNNING
    assert [signal.count for signal in signals if isinstance(signal, SagasRecovered)] == [1000]


def test_a_full_engine_does_not_read_the_journal_over_and_over(tmp_path: Path) -> None:
    """Pages of open sagas are read about once each, not each time a saga ends."""
    pages = 0

    class Reading(CountingDatabase):
        async def fetch_all(self, sql: str, parameters: Any = ()) -> list[Any]:
            nonlocal pages
            pages += "LIMIT" in sql
            return await super().fetch_all(sql, parameters)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        reading = Reading(database.path, owner="own", clock=clock)
        await reading.open()
        before = Engine("own", reading, clock=clock)
        before.add(saga)
        async with reading.transaction() as tx:
            ids = [await before.start(tx, saga, None, key=str(number)) for number in range(1000)]
        async with driving(reading, saga) as engine:
            for saga_id in ids:
                await engine.wait(saga_id)
        await reading.close()

    play(tmp_path, act)
    assert pages < 20


def test_what_has_ended_stays_ended(tmp_path: Path) -> None:
    """A transition that comes after the end, from whomever, changes nothing."""
    from skerry.saga import Journal
    from skerry.saga.journal import Record

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            await Journal(database, clock=clock).write(Record(status.id, "one", "unknown", status="compensating"))
            assert (await engine.wait(status.id)).status == "completed"

    play(tmp_path, act)
