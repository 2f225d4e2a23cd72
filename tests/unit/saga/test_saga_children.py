"""Sagas that are steps of others, and steps that wait beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from driven import TWICE, CountingDatabase, Script, driving, play, start
from pydantic import BaseModel

from skerry.errors import DefinitionError, NotNow, Rejected
from skerry.saga import Saga, Sagas, SagaStatus
from skerry.testing import VirtualClock

DAY = 86_400.0


class Address(BaseModel):
    city: str


class Parcel(BaseModel):
    number: int
    address: Address


class Acts:
    """What the steps of parent and child do, and what was done in which order."""

    def __init__(self, **scripts: Script) -> None:
        self.done: list[str] = []
        self._scripts = scripts

    async def __call__(self, name: str, ctx: Any) -> Any:
        self.done.append(name)
        return await self._scripts[name](ctx) if name in self._scripts else None


def packing(acts: Acts) -> Saga:
    """A child of compensatable steps only."""
    saga = Saga("packing", input=Address)

    @saga.step(retry=TWICE)
    async def box(ctx, given: Address) -> int:
        await acts("box", ctx)
        return len(given.city)

    @box.compensate
    async def unbox(ctx, given, result):
        await acts(f"unbox {result}", ctx)

    @saga.step(retry=TWICE)
    async def label(ctx, given) -> Parcel:
        await acts("label", ctx)
        return Parcel(number=ctx.results["box"], address=given)

    @label.compensate
    async def unlabel(ctx, given, result):
        await acts("unlabel", ctx)

    label.compensation_retry = TWICE
    return saga


def order(acts: Acts, *children: Saga) -> Saga:
    """Reserve, then what the children do, then pay."""
    saga = Saga("order", input=str)

    @saga.step(retry=TWICE)
    async def reserve(ctx, given):
        await acts("reserve", ctx)

    @reserve.compensate
    async def release(ctx, given, result):
        await acts("release", ctx)

    for number, child in enumerate(children, 1):
        saga.child(f"child{number}", child, lambda _ctx, given: Address(city=given))

    @saga.pivot(retry=TWICE)
    async def pay(ctx, given):
        await acts("pay", ctx)
        return {name: str(result) for name, result in ctx.results.items()}

    return saga


def played(path: Path, saga: Saga) -> tuple[SagaStatus, list[SagaStatus]]:
    """The saga from its start to its end, and its children."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            status = await engine.wait(await start(engine, database, saga, value="Rome"))
            sagas = Sagas(database, clock=clock)
            return status, [await sagas.get(line.id) for line in await sagas.children(status.id)]

    return play(path, act)


def test_a_child_is_a_step(tmp_path: Path) -> None:
    """Its results are the step's result, typed; each has its own entry, in one trace."""
    acts = Acts()
    status, (child,) = played(tmp_path, order(acts, packing(acts)))
    assert status.status == child.status == "completed"
    assert acts.done == ["reserve", "box", "label", "pay"]
    assert status.result("child1") == {"box": 4, "label": {"number": 4, "address": {"city": "Rome"}}}
    assert status.result("pay")["child1"] == "{'box': 4, 'label': Parcel(number=4, address=Address(city='Rome'))}"
    assert child.parent == status.id
    assert child.traceparent[:35] == status.traceparent[:35]


def test_a_child_that_turns_back_rejects_its_step(tmp_path: Path) -> None:
    """It has undone its own steps, and the parent undoes those before."""
    acts = Acts(label=Script(Rejected("no label")))
    status, (child,) = played(tmp_path, order(acts, packing(acts)))
    assert (status.status, child.status) == ("compensated", "compensated")
    assert status.reason == "child1: it has turned back: label: no label"
    assert acts.done == ["reserve", "box", "label", "unbox 4", "release"]


def test_a_completed_child_turns_back_with_its_parent(tmp_path: Path) -> None:
    """Step by step, the last one first, before what came before the child."""
    acts = Acts(pay=Script(Rejected("no money")))
    status, (child,) = played(tmp_path, order(acts, packing(acts)))
    assert (status.status, child.status) == ("compensated", "compensated")
    assert acts.done == ["reserve", "box", "label", "pay", "unlabel", "unbox 4", "release"]
    assert child.taken_back
    assert child.turned_back


def test_grandchildren_turn_back_too(tmp_path: Path) -> None:
    """A child's child is one of its steps."""
    acts = Acts(pay=Script(Rejected("no money")))
    middle = Saga("middle", input=Address)
    middle.child("inner", packing(acts), lambda _ctx, given: given)
    status, (child,) = played(tmp_path, order(acts, middle))
    assert (status.status, child.status) == ("compensated", "compensated")
    assert acts.done == ["reserve", "box", "label", "pay", "unlabel", "unbox 4", "release"]


def test_children_run_beside_each_other(tmp_path: Path) -> None:
    """In a group, with a step; when one fails, the one that has completed and the one that waits turn back."""
    acts = Acts(label=Script(Rejected("no label")))
    slow = Saga("slow", input=Address)

    @slow.step()
    async def weigh(ctx, given):
        await acts("weigh", ctx)

    @weigh.compensate
    async def unweigh(ctx, given, result):
        await acts("unweigh", ctx)

    slow.receive("truck", str)
    saga = Saga("order", input=str)
    with saga.parallel():
        saga.child("packed", packing(acts), lambda _ctx, given: Address(city=given))
        saga.child("sent", slow, lambda _ctx, given: Address(city=given))

        @saga.step()
        async def note(ctx, given):
            await acts("note", ctx)

        @note.compensate
        async def unnote(ctx, given, result):
            await acts("unnote", ctx)

    status, children = played(tmp_path, saga)
    assert status.status == "compensated"
    assert {child.name: child.status for child in children} == {"packing": "compensated", "slow": "compensated"}
    assert sorted(acts.done) == ["box", "label", "note", "unbox 4", "unnote", "unweigh", "weigh"]


def test_a_group_waits_for_several_things(tmp_path: Path) -> None:
    """Two signals and a time beside a step; it goes on when the last has come, whatever the order, through restarts."""
    saga = Saga("order", input=str)
    with saga.parallel():
        saga.receive("boss", str)
        saga.receive("customer", str)
        saga.sleep("grace", 60.0)

        @saga.step()
        async def note(ctx, given) -> str:
            return "noted"

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        saga_id = ""
        for name in ("customer", "", "boss"):
            async with driving(database, saga) as engine:
                saga_id = saga_id or await start(engine, database, saga, value="x")
                await clock.sleep(5.0)
                assert not (await Sagas(database, clock=clock).get(saga_id)).ended
                if name:
                    async with database.transaction() as tx:
                        await engine.signal(tx, saga, "1", name, f"{name} says yes")
                    await clock.sleep(5.0)
            clock.advance(100.0)
        async with driving(database, saga) as engine:
            return await engine.wait(saga_id)

    status = play(tmp_path, act)
    assert status.status == "completed"
    assert {name: json.loads(text) for name, text in status.results.items()} == {
        "boss": "boss says yes",
        "customer": "customer says yes",
        "grace": None,
        "note": "noted",
    }


def test_a_parent_waits_through_restarts_and_drives_nothing(tmp_path: Path) -> None:
    """While its child waits for a signal, neither is in memory; both end when it has come."""
    acts = Acts()
    child = packing(acts)
    child.receive("truck", str)
    saga = order(acts, child)

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value="Rome")
            await clock.sleep(5.0)
            assert not engine._running
        async with driving(database, saga) as engine:
            await clock.sleep(5.0)
            assert not engine._running
            (line,) = await Sagas(database, clock=clock).children(saga_id)
            async with database.transaction() as tx:
                await engine.signal(tx, child, line.key, "truck", "here")
            return await engine.wait(saga_id)

    status = play(tmp_path, act)
    assert status.status == "completed"
    assert acts.done == ["reserve", "box", "label", "pay"]


@pytest.mark.parametrize("completes", [False, True])
def test_a_cancelled_parent_turns_its_child_back(tmp_path: Path, completes: bool) -> None:
    """One that waits; the same when it has completed before the parent noticed."""
    acts = Acts()
    child = packing(acts)
    child.receive("truck", str)
    saga = order(acts, child)

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value="Rome")
            await clock.sleep(5.0)
            (line,) = await Sagas(database, clock=clock).children(saga_id)
            async with database.transaction() as tx:
                if completes:
                    await engine.signal(tx, child, line.key, "truck", "here")
            await engine.cancel(saga_id, note="changed my mind")
            status = await engine.wait(saga_id)
            return status, await Sagas(database, clock=clock).get(line.id)

    status, inner = play(tmp_path, act)
    assert (status.status, inner.status) == ("compensated", "compensated")
    assert acts.done == ["reserve", "box", "label", "unlabel", "unbox 4", "release"]


def test_a_child_with_a_pivot_is_the_pivot(tmp_path: Path) -> None:
    """It is asked to turn back, and does unless it has passed its own pivot; then the parent goes on."""
    acts = Acts()

    def paying() -> Saga:
        saga = Saga("paying", input=Address)

        @saga.step()
        async def hold(ctx, given):
            await acts("hold", ctx)

        @hold.compensate
        async def unhold(ctx, given, result):
            await acts("unhold", ctx)

        saga.receive("confirmed", str)

        @saga.pivot()
        async def charge(ctx, given):
            await acts("charge", ctx)

        saga.receive("booked", str)
        return saga

    child = paying()
    saga = Saga("order", input=str, deadline=DAY)

    @saga.step()
    async def reserve(ctx, given):
        await acts("reserve", ctx)

    @reserve.compensate
    async def release(ctx, given, result):
        await acts("release", ctx)

    saga.child("payment", child, lambda _ctx, given: Address(city=given))

    @saga.retriable()
    async def ship(ctx, given):
        await acts("ship", ctx)

    assert saga.steps[1].kind == "pivot"

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            ids = [await start(engine, database, saga, key=key, value="Rome") for key in ("early", "late")]
            await clock.sleep(5.0)
            (late,) = await Sagas(database, clock=clock).children(ids[1])
            async with database.transaction() as tx:
                await engine.signal(tx, child, late.key, "confirmed", "yes")
            await clock.sleep(5.0)
            clock.advance(2 * DAY)
            early = await engine.wait(ids[0])
            await clock.sleep(5.0)
            async with database.transaction() as tx:
                await engine.signal(tx, child, late.key, "booked", "yes")
            return early.status, (await engine.wait(ids[1])).status

    assert play(tmp_path, act) == ("compensated", "completed")
    assert sorted(acts.done[:4]) == ["hold", "hold", "reserve", "reserve"]
    assert acts.done[4:] == ["charge", "unhold", "release", "ship"]


def test_a_stuck_child_holds_its_parent_until_it_is_settled(tmp_path: Path) -> None:
    """Going back, too; the parent is woken by what a person does in another process."""
    acts = Acts(pay=Script(Rejected("no money")), unlabel=Script(OSError("jam")))
    saga = order(acts, packing(acts))

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value="Rome")
            await clock.sleep(30.0)
            sagas = Sagas(database, clock=clock)
            (line,) = await sagas.children(saga_id)
            assert line.status == "stuck"
            assert not (await sagas.get(saga_id)).ended
            with pytest.raises(NotNow):
                await sagas.skip(line.id, "box")
            await sagas.skip(line.id, "label", note="torn off by hand")
            status = await engine.wait(saga_id)
            return status, await sagas.get(line.id), await sagas.timeline(line.id)

    status, child, timeline = play(tmp_path, act)
    assert (status.status, child.status) == ("compensated", "compensated")
    assert acts.done[-2:] == ["unbox 4", "release"]
    assert [entry.what for entry in timeline if entry.what == "taken back"] == ["taken back"]


def test_a_resolved_child_wakes_its_parent(tmp_path: Path) -> None:
    """As completed by a person: its results are what there is."""
    acts = Acts(box=Script(OSError("jam")))
    inner = Saga("inner", input=Address)

    @inner.retriable(retry=TWICE)
    async def box(ctx, given):
        await acts("box", ctx)

    saga = Saga("order", input=str)
    saga.child("last", inner, lambda _ctx, given: Address(city=given))
    assert saga.steps[0].kind == "retriable"

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value="Rome")
            await clock.sleep(30.0)
            (line,) = await Sagas(database, clock=clock).children(saga_id)
            await Sagas(database, clock=clock).resolve(line.id, "completed")
            return await engine.wait(saga_id)

    status = play(tmp_path, act)
    assert (status.status, status.result("last")) == ("completed", {})


def test_an_input_that_cannot_be_made_turns_the_parent_back(tmp_path: Path) -> None:
    """Nothing of the child has begun."""
    acts = Acts()
    saga = Saga("order", input=str)

    @saga.step()
    async def reserve(ctx, given):
        await acts("reserve", ctx)

    @reserve.compensate
    async def release(ctx, given, result):
        await acts("release", ctx)

    saga.child("packed", packing(acts), lambda _ctx, given: {"town": given})
    status, children = played(tmp_path, saga)
    assert (status.status, children) == ("compensated", [])
    assert status.reason.startswith("packed: DefinitionError: the input of 'packing' does not fit: city")
    assert acts.done == ["reserve", "release"]


def test_children_that_cannot_be_are_refused() -> None:
    """One without steps, a saga inside itself, and one that could turn back behind the point of no return."""
    acts = Acts()
    with pytest.raises(DefinitionError, match="no steps"):
        Saga("order").child("empty", Saga("empty"), lambda _ctx, given: given)
    saga = order(acts, packing(acts))
    with pytest.raises(DefinitionError, match="its own child"):
        saga.child("me", saga, lambda _ctx, given: given)
    inner = next(saga.family())
    with pytest.raises(DefinitionError, match="its own child"):
        inner.child("outer", saga, lambda _ctx, given: given)
    with pytest.raises(DefinitionError, match="point of no return"):
        saga.child("late", packing(acts), lambda _ctx, given: given)
    with pytest.raises(DefinitionError, match="its own compensations"):
        saga.steps[1].compensate(lambda _ctx, _given, _result: None)


def test_another_version_of_a_child_is_another_step() -> None:
    """A running saga must find its child as it was."""
    acts = Acts()
    old, new = Saga("parent", input=str), Saga("parent", input=str)
    later = Saga("packing", version=2, input=Address)
    later.sleep("pause", 1.0)
    old.child("packed", packing(acts), lambda _ctx, given: given)
    new.child("packed", later, lambda _ctx, given: given)
    assert json.loads(old.signature()) == ["step packed with compensation child=packing@1"]
    assert old.signature() != new.signature()
