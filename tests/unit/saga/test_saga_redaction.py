"""Fields that nobody is shown, and that are erased once a saga has ended."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from driven import TWICE, CountingDatabase, Script, driving, play, start

from skerry.errors import DefinitionError, ReceiptConflict, Rejected
from skerry.saga import Saga, Sagas
from skerry.saga.redaction import redacted
from skerry.testing import VirtualClock

SECRET = "4000-1234"
ORDER = {"card": SECRET, "amount": 5, "items": [{"note": SECRET}, {"note": "none"}, {}]}


def order(pay: Script, undo: Script | None = None) -> Saga:
    saga = Saga("order", input=dict[str, Any], redact=["card", "items.note"])

    @saga.step(retry=TWICE, redact=["token"])
    async def hold(ctx, given):
        return {"token": given["card"], "till": 7}

    @hold.compensate
    async def unhold(ctx, given, result):
        await (undo or Script(None))((given, result))

    hold.compensation_retry = TWICE
    saga.receive("code", str, redact=["*"])

    @saga.pivot(retry=TWICE)
    async def charge(ctx, given):
        return await pay(dict(ctx.results))

    return saga


def anywhere(path: Path) -> bool:
    """Whether the secret stands in any row of the database."""
    connection = sqlite3.connect(path / "own.db")
    try:
        return SECRET in "\n".join(connection.iterdump())
    finally:
        connection.close()


async def sent(engine: Any, database: CountingDatabase, saga: Saga, key: str = "1") -> None:
    async with database.transaction() as tx:
        await engine.signal(tx, saga, key, "code", SECRET)


def test_what_is_redacted_is_erased_with_the_end(tmp_path: Path) -> None:
    """Steps see it until then; afterwards it stands in no row, and the rest is as it was."""
    pay = Script("paid")
    saga = order(pay)

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value=ORDER)
            await clock.sleep(5.0)
            assert anywhere(tmp_path)
            assert SECRET not in str((await Sagas(database, clock=clock).get(saga_id)).as_shown().input)
            await sent(engine, database, saga)
            await engine.wait(saga_id)
            again = await start(engine, database, saga, value=ORDER)  # the same order, as far as one can tell
            assert again == saga_id
            with pytest.raises(ReceiptConflict):
                await start(engine, database, saga, value={**ORDER, "amount": 6})
            return await Sagas(database, clock=clock).get(saga_id)

    status = play(tmp_path, act)
    assert pay.calls == [{"hold": {"token": SECRET, "till": 7}, "code": SECRET}]
    assert status.status == "completed"
    assert not anywhere(tmp_path)
    assert status.result("hold") == {"token": "[redacted]", "till": 7}
    assert status.as_shown() == status


def test_a_stuck_saga_keeps_what_it_needs(tmp_path: Path) -> None:
    """Its compensation gets the whole input and result when it is told to go on; only then they are erased."""
    undo = Script(OSError(), OSError(), None)
    saga = order(Script(Rejected("no money")), undo)

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value=ORDER)
            await sent(engine, database, saga)
            assert (await engine.wait(saga_id)).status == "stuck"
            assert anywhere(tmp_path)
            await Sagas(database, clock=clock).retry(saga_id)
            await clock.sleep(5.0)
            return await engine.wait(saga_id)

    assert play(tmp_path, act).status == "compensated"
    assert undo.calls[-1] == (ORDER, {"token": SECRET, "till": 7})
    assert not anywhere(tmp_path)


def test_what_a_person_ends_is_erased_too(tmp_path: Path) -> None:
    """Also where the engine knows nothing of the definition."""
    saga = order(Script(Rejected("no money")), Script(OSError()))

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value=ORDER)
            await sent(engine, database, saga)
            await engine.wait(saga_id)
            await Sagas(database, clock=clock).resolve(saga_id, "compensated")

    play(tmp_path, act)
    assert not anywhere(tmp_path)


def test_a_child_keeps_what_it_needs_until_its_parent_has_ended(tmp_path: Path) -> None:
    """It may have to turn back although it has completed."""
    undo = Script(None)
    inner = order(Script("paid"), undo)
    inner.steps.pop()  # without its pivot
    saga = Saga("parent", input=dict[str, Any], redact=["card", "items"])
    saga.child("paid", inner, lambda _ctx, given: given)

    @saga.step(retry=TWICE)
    async def ship(ctx, given):
        assert ctx.results["paid"]["hold"]["token"] == SECRET
        raise Rejected("no ship")

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, value=ORDER)
            await clock.sleep(5.0)
            (line,) = await Sagas(database, clock=clock).children(saga_id)
            await sent(engine, database, inner, line.key)
            return await engine.wait(saga_id)

    assert play(tmp_path, act).status == "compensated"
    assert undo.calls == [(ORDER, {"token": SECRET, "till": 7})]
    assert not anywhere(tmp_path)


@pytest.mark.parametrize(
    ("text", "paths", "left"),
    [
        ('{"a": {"b": 1, "c": 2}}', ["a.b"], '{"a": {"b": "[redacted]", "c": 2}}'),
        ('{"a": [{"b": 1}, 2, {"c": 3}]}', ["a.b"], '{"a": [{"b": "[redacted]"}, 2, {"c": 3}]}'),
        ('{"a": {"x": 1, "y": 2}}', ["a.*"], '{"a": {"x": "[redacted]", "y": "[redacted]"}}'),
        ('"all"', ["*"], '"[redacted]"'),
        ('["a", {"b": 1}]', ["*"], '["[redacted]", {"b": "[redacted]"}]'),
        ('{"a": null}', ["a"], '{"a": "[redacted]"}'),
        ("null", ["a.b"], "null"),
        ("3", ["a"], "3"),
        ('{"a": 1}', ["b", "a.b"], '{"a": 1}'),
    ],
)
def test_paths(text: str, paths: list[str], left: str) -> None:
    """Names lead through objects and lists; what is not there is no error."""
    assert redacted(text, paths) == left
    assert redacted(left, paths) == left


@pytest.mark.parametrize("paths", ["card", ["a..b"], [""], [3]])
def test_what_is_no_path_is_refused(paths: Any) -> None:
    """When the saga is defined."""
    with pytest.raises(DefinitionError, match="paths such as"):
        Saga("order", redact=paths)
    with pytest.raises(DefinitionError, match="paths such as"):
        Saga("order").receive("code", redact=paths)
