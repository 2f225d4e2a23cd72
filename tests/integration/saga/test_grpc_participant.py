"""A participant behind gRPC, killed, asked twice, too late and in the wrong order: one effect, or none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from depot import PIECES, ask, running

from skerry import context, signals
from skerry.clock import SYSTEM
from skerry.errors import DeadlineExceeded, StatusError, Unreachable
from skerry.resilience import Retry
from skerry.saga import Engine, Journal, Rejected, Saga
from skerry.signals import SagaStepFailed
from skerry.store import SQLiteDatabase

PATIENT = Retry(200, base=0.05, cap=0.1)
PATIENCE = 60.0

_looks = itertools.count(1)


@asynccontextmanager
async def driving(tmp_path: Path, *sagas: Saga) -> AsyncIterator[Engine]:
    database = SQLiteDatabase(tmp_path / "order.db", owner="order")
    await database.open()
    await Journal.prepare(database)
    engine = Engine("order", database)
    engine.add(*sagas)
    serving = asyncio.create_task(engine.serve())
    try:
        yield engine
    finally:
        await engine.stop(serving, within=5.0)
        await database.close()


def order(
    channel: grpc.aio.Channel, keys: list[str], retry: Retry = PATIENT, timeout: float = 10.0, **told: str
) -> Saga:
    """Keeps some pieces, and lets go of them when it turns back."""
    saga = Saga("order", input=int)

    @saga.step(retry=retry, timeout=timeout)
    async def reserve(ctx, number) -> dict[str, int]:
        keys.append(ctx.key)
        return await ask(channel, "Reserve", {"number": number}, ctx.key, **told)

    @reserve.compensate
    async def release(ctx, number, result):
        keys.append(ctx.key)
        await ask(channel, "Release", {"number": number}, ctx.key)

    reserve.compensation_retry = PATIENT
    return saga


async def left(channel: grpc.aio.Channel) -> int:
    """How many pieces there are: one more order of none tells, once it is there to be asked."""
    while True:
        try:
            return (await ask(channel, "Reserve", {"number": 0}, f"look-{next(_looks)}"))["left"]
        except Unreachable:
            await asyncio.sleep(0.05)


def play(tmp_path: Path, act: Callable[[grpc.aio.Channel], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(PATIENCE), running(tmp_path) as channel:
            assert await left(channel) == PIECES
            return await act(channel)

    return asyncio.run(main())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_participant_that_is_killed_around_its_commit_has_one_effect(tmp_path: Path, when: str) -> None:
    """The connection is lost, which tells nothing; asked again with the same key it does it now, or answers as before."""

    async def act(channel: grpc.aio.Channel) -> None:
        keys: list[str] = []
        failures: list[str] = []
        saga = order(channel, keys, dies=when)
        unsubscribe = signals.subscribe(
            lambda signal: failures.append(signal.error) if isinstance(signal, SagaStepFailed) else None
        )
        async with driving(tmp_path, saga) as engine:
            ended = await engine.run(saga, 3, key="1")
        unsubscribe()
        assert (ended.status, ended.result("reserve")) == ("completed", {"left": PIECES - 3})
        assert len(keys) > 1
        assert len(set(keys)) == 1
        assert failures[0] == "ConnectionLost"
        assert set(failures) <= {"ConnectionLost", "Unreachable"}
        assert await left(channel) == PIECES - 3

    play(tmp_path, act)


def test_an_answer_that_comes_after_the_deadline_is_found_again(tmp_path: Path) -> None:
    """The effect is done and the answer slow: tried again after the time-out, the step gets the first answer."""

    async def act(channel: grpc.aio.Channel) -> None:
        keys: list[str] = []
        saga = order(channel, keys, timeout=0.5, sleeps="5")
        async with driving(tmp_path, saga) as engine:
            ended = await engine.run(saga, 3, key="1")
        assert (ended.status, ended.result("reserve")) == ("completed", {"left": PIECES - 3})
        assert len(keys) == 2
        assert await left(channel) == PIECES - 3

    play(tmp_path, act)


def test_the_time_left_travels(tmp_path: Path) -> None:
    """A call that runs out of it is an unknown outcome, never a no."""

    async def act(channel: grpc.aio.Channel) -> None:
        with context.use(context.CallContext(deadline=SYSTEM.monotonic() + 0.5)), pytest.raises(DeadlineExceeded):
            await ask(channel, "Reserve", {"number": 1}, "saga-1:reserve:do", sleeps="5")
        assert await left(channel) == PIECES - 1

    play(tmp_path, act)


def test_a_final_no_turns_the_saga_back(tmp_path: Path) -> None:
    """FAILED_PRECONDITION is `Rejected`: asked once, surely not done, nothing to undo."""

    async def act(channel: grpc.aio.Channel) -> None:
        keys: list[str] = []
        saga = order(channel, keys)
        async with driving(tmp_path, saga) as engine:
            ended = await engine.run(saga, PIECES + 1, key="1")
        assert (ended.status, ended.reason) == ("compensated", "reserve: not so many left")
        assert len(keys) == 1
        assert await left(channel) == PIECES

    play(tmp_path, act)


def test_a_compensation_that_comes_first_keeps_the_action_out(tmp_path: Path) -> None:
    """Killed before each commit the step gives up, and is undone although it never ran; when it then arrives it is refused."""

    async def act(channel: grpc.aio.Channel) -> None:
        keys: list[str] = []
        saga = order(channel, keys, Retry(2, base=0.05, cap=0.1), dies="always before")
        async with driving(tmp_path, saga) as engine:
            assert (await engine.run(saga, 3, key="1")).status == "compensated"
        late, undone = keys[0], keys[-1]
        assert (late[-3:], undone[-5:]) == (":do", ":undo")
        with pytest.raises(StatusError) as refused:
            await ask(channel, "Reserve", {"number": 3}, late)
        assert refused.value.code == "late_action"
        assert await left(channel) == PIECES

    play(tmp_path, act)


def test_calls_that_are_repeated_have_one_effect_and_one_answer(tmp_path: Path) -> None:
    """Eight at the same moment; then the compensation, twice; and the key with another request, which is a mistake."""

    async def act(channel: grpc.aio.Channel) -> None:
        key = "saga-1:reserve:do"
        answers = await asyncio.gather(*(ask(channel, "Reserve", {"number": 2}, key) for _ in range(8)))
        assert answers == [{"left": PIECES - 2}] * 8
        with pytest.raises(StatusError) as refused:
            await ask(channel, "Reserve", {"number": 3}, key)
        assert refused.value.code == "key_reused"
        undone = [await ask(channel, "Release", {"number": 2}, "saga-1:reserve:undo") for _ in range(2)]
        assert undone == [True, False]
        assert await left(channel) == PIECES

    play(tmp_path, act)


def test_an_action_without_a_key_is_rejected(tmp_path: Path) -> None:
    """An empty key guards nothing, so it is a final no."""

    async def act(channel: grpc.aio.Channel) -> None:
        with pytest.raises(Rejected, match="1 to 255"):
            await ask(channel, "Reserve", {"number": 2}, "")

    play(tmp_path, act)
