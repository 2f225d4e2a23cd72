from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from driven import TWICE, driving, one_step, play
from pydantic import BaseModel, Field

from skerry.errors import DefinitionError
from skerry.saga import Engine, Saga
from skerry.store import SQLiteDatabase

if TYPE_CHECKING:
    from skerry.saga import StepContext as OnlyForTypes


class Order(BaseModel):
    number: int
    note: str = Field(default="", alias="theNote")


class Receipt(BaseModel):
    id: str = Field(alias="receiptId")


async def nothing(ctx: Any, given: Any) -> None:
    """Do nothing."""


async def other(ctx: Any, given: Any) -> None:
    """Do nothing either."""


def test_steps_come_in_the_order_of_their_kinds() -> None:
    """After a pivot or a retriable step only retriable steps may follow."""
    for first, second in (("pivot", "step"), ("pivot", "pivot"), ("retriable", "step"), ("retriable", "pivot")):
        saga = Saga("s")
        getattr(saga, first)()(nothing)
        with pytest.raises(DefinitionError, match="'other' comes after the point of no return"):
            getattr(saga, second)()(other)


def test_a_step_name_is_used_once() -> None:
    """Two steps of one name, or one without a name, are an error."""
    saga = Saga("s")
    saga.step()(nothing)
    with pytest.raises(DefinitionError, match="another name for the step 'nothing'"):
        saga.step()(nothing)


def test_steps_and_compensations_are_functions_that_do_their_work() -> None:
    """A generator, which would do nothing when called, is refused as a step and as a compensation."""

    def generator(ctx: Any, given: Any) -> Any:
        yield

    async def asynchronous(ctx: Any, given: Any) -> Any:
        yield

    saga = Saga("s")
    for useless in (generator, asynchronous):
        with pytest.raises(DefinitionError, match="a function that does its work, async or not"):
            saga.step()(useless)
    step = saga.step()(nothing)
    with pytest.raises(DefinitionError, match="a function that does its work, async or not"):
        step.compensate(generator)


@pytest.mark.parametrize("deadline", [0, -1.0, float("inf"), float("nan")])
def test_a_deadline_is_a_time_to_come(deadline: float) -> None:
    """What is no number of seconds above 0 is refused."""
    with pytest.raises(DefinitionError, match="the deadline of 's'"):
        Saga("s", deadline=deadline)


def test_compensations_stand_where_they_can_be_used() -> None:
    """A retriable step has no compensation, any other at most one."""
    saga = Saga("s")
    step = saga.step()(nothing)
    step.compensate(other)
    with pytest.raises(DefinitionError, match="has a compensation already"):
        step.compensate(other)
    with pytest.raises(DefinitionError, match="point of no return"):
        saga.retriable()(other).compensate(nothing)


def test_a_time_out_is_above_zero() -> None:
    """A time-out that no attempt could keep is refused."""
    for timeout in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(DefinitionError, match="time-out of 'nothing'"):
            Saga("s").step(timeout=timeout)(nothing)


def test_only_what_a_step_returns_has_to_be_known_at_run_time() -> None:
    """Names that only a type checker imports may annotate parameters, not the result."""

    async def fine(ctx: OnlyForTypes, given: Any) -> dict[str, int]:
        return {}

    async def wrong(ctx: Any, given: Any) -> OnlyForTypes: ...

    Saga("s").step()(fine)
    with pytest.raises(DefinitionError, match="'wrong' returns is not known at run time"):
        Saga("s").step()(wrong)


def test_a_type_that_is_no_json_is_an_error_at_once() -> None:
    """An input or result type that cannot be kept is refused where it is declared."""

    class Opaque:
        pass

    async def wrong(ctx: Any, given: Any):
        return None

    wrong.__annotations__["return"] = Opaque
    with pytest.raises(DefinitionError, match="the input of 's' cannot be kept"):
        Saga("s", input=Opaque)
    with pytest.raises(DefinitionError, match="what 'wrong' returns cannot be kept"):
        Saga("s").step()(wrong)


def test_inputs_are_checked_at_the_start(tmp_path: Path) -> None:
    """A value that does not fit the input's type, or is no JSON, starts nothing, and the message does not repeat it."""

    async def act(database: Any, clock: Any) -> None:
        engine = Engine("own", database, clock=clock)
        typed, free = Saga("typed", input=Order), Saga("free")
        for saga in (typed, free):
            saga.step()(nothing)
        engine.add(typed, free)
        async with database.transaction() as tx:
            with pytest.raises(DefinitionError, match="number: Input should be a valid integer") as raised:
                await engine.start(tx, typed, {"number": "secret"}, key="1")
            assert "secret" not in str(raised.value)
            with pytest.raises(DefinitionError, match="cannot be written as JSON"):
                await engine.start(tx, free, object(), key="1")
        assert await engine.stats() == {}

    play(tmp_path, act)


def test_a_saga_without_steps_cannot_be_started(tmp_path: Path) -> None:
    """A saga that could never end is not begun."""

    async def act(database: Any, clock: Any) -> None:
        engine = Engine("own", database, clock=clock)
        empty = Saga("empty")
        engine.add(empty)
        async with database.transaction() as tx:
            with pytest.raises(DefinitionError, match="has no steps"):
                await engine.start(tx, empty, None, key="1")

    play(tmp_path, act)


def test_two_definitions_of_one_version_are_an_error(tmp_path: Path) -> None:
    """An engine takes a definition once, and again without harm, but never another one of the same name and version."""
    engine = Engine("own", SQLiteDatabase(tmp_path / "x.db", owner="own"))
    first = Saga("s", version=1)
    engine.add(first, first)
    engine.add(Saga("s", version=2))
    with pytest.raises(DefinitionError, match="two definitions of 's' version 1"):
        engine.add(Saga("s", version=1))


def test_inputs_and_results_keep_their_types(tmp_path: Path) -> None:
    """Models, with aliases too, dicts and None reach later steps and compensations as what they were."""
    seen: list[Any] = []

    async def act(database: Any, clock: Any) -> None:
        saga = Saga("typed", input=Order)

        @saga.step(retry=TWICE)
        async def model(ctx: Any, order: Order) -> Receipt:
            return Receipt(receiptId=f"r{order.number}")

        @model.compensate
        async def unmodel(ctx: Any, order: Order, receipt: Receipt | None) -> None:
            seen.append(("undone", order, receipt))

        @saga.step(retry=TWICE)
        async def plain(ctx: Any, order: Order) -> dict[str, Any]:
            return {"a": (1, 2)}

        @saga.step(retry=TWICE)
        async def empty(ctx: Any, order: Order) -> None:
            return None

        @saga.pivot(retry=TWICE)
        async def look(ctx: Any, order: Order) -> int:
            seen.append(dict(ctx.results))
            with pytest.raises(TypeError):
                ctx.results["model"] = None
            raise ZeroDivisionError

        @look.compensate
        async def unlook(ctx: Any, order: Order, result: int | None) -> None:
            seen.append(("undone", result))

        async with driving(database, saga) as engine:
            status = await engine.run(saga, Order(number=1, theNote="hi"), key="1")
            assert (status.status, status.result("model"), status.result("look")) == (
                "compensated",
                {"receiptId": "r1"},
                None,
            )

    play(tmp_path, act)
    order, receipt = Order(number=1, theNote="hi"), Receipt(receiptId="r1")
    results = {"model": receipt, "plain": {"a": [1, 2]}, "empty": None}
    assert seen == [results, results, ("undone", None), ("undone", order, receipt)]


@pytest.mark.parametrize(
    "result", [object(), {"a": object()}, "text", float("nan")], ids=["object", "inside", "text", "nan"]
)
def test_a_result_that_does_not_fit_is_a_failed_attempt(tmp_path: Path, result: Any) -> None:
    """What could not be read from the journal again counts as a failure that may have had its effect: it is undone."""
    undone: list[Any] = []

    async def wrong(ctx: Any, given: Any) -> int:
        return result

    async def act(database: Any, clock: Any) -> None:
        saga = one_step(wrong)
        saga.steps[0].compensate(undo)
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            assert (status.status, dict(status.steps)) == ("compensated", {"wrong": "undone"})

    async def undo(ctx: Any, given: Any, result: Any) -> None:
        undone.append((ctx.key.rpartition(":")[2], result))

    play(tmp_path, act)
    assert undone == [("undo", None)]


def test_definitions_need_no_event_loop() -> None:
    """A saga is declared at import, before any loop runs."""
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    saga = one_step(nothing)
    assert saga.signature() == '["step nothing"]'
