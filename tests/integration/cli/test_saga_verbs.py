"""Sagas of a running service, looked at and settled from the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from verbs import skerry, told, until

from skerry.saga import Engine, Journal, Saga
from skerry.store import SQLiteDatabase


def listed(*arguments: object) -> dict[str, str]:
    """The status of each saga by its key."""
    return {each["key"]: each["status"] for each in told("saga", "list", *arguments)["sagas"]}


def status(key: str) -> str:
    return told("saga", "show", "billing", key)["status"]


def test_stuck_sagas_are_settled_beside_the_running_service(running: Path) -> None:
    """One goes on once the cause is mended, one is skipped, one is ended by hand, and one that runs turns back."""
    stuck = {"refund-1": "stuck", "refund-2": "stuck", "refund-3": "stuck"}
    until(lambda: listed() == {**stuck, "slow-1": "running"})
    assert list(listed())[3] == "slow-1"
    assert listed("--status", "stuck", "--name", "refund") == stuck
    assert len(listed("--limit", "2")) == 2
    counts = told("saga", "stats")["stats"]
    assert [(each["saga" if "saga" in each else "name"], each["status"], each["sagas"]) for each in counts] == [
        ("refund", "stuck", 3),
        ("slow", "running", 1),
    ]
    shown = skerry("saga", "list")
    assert shown.stdout.startswith("SERVICE  ID")
    assert "the customer" not in shown.stdout + skerry("saga", "show", "billing", "refund-1").stdout

    one = told("saga", "show", "billing", "refund-1", "--data-too")
    assert (one["status"], one["input"]) == ("stuck", "the customer")
    assert one["steps"] == {"take": "done", "book": "rejected"}
    assert one["results"] == {"take": "taken from the customer"}
    assert [(each["step"], each["what"]) for each in one["timeline"]] == [
        ("", "started"),
        ("take", "done"),
        ("book", "rejected"),
        ("", "stuck"),
    ]
    assert told("saga", "show", "billing", one["id"])["key"] == "refund-1"

    told("saga", "retry", "billing", "refund-1", "--note", "too early")
    until(lambda: status("refund-1") == "stuck")
    refused = skerry("saga", "skip", "billing", "refund-2", "--step", "book")
    assert (refused.exit_code, refused.stderr) == (1, "error: the saga stands at take, not at 'book'\n")
    assert told("saga", "skip", "billing", "refund-2", "--step", "take")["status"] == "compensated"
    note = "in the bank's form"
    done = skerry("saga", "resolve", "billing", "refund-3", "--as", "compensated", "--note", note)
    assert done.stdout == "billing: refund refund-3 is compensated\n"
    assert told("saga", "show", "billing", "refund-3")["reason"] == f"resolved by hand: {note}"
    turned = skerry("saga", "cancel", "billing", "slow-1", "--note", "the customer left")
    assert turned.stdout == "billing: slow slow-1 is asked to turn back\n"

    (running / "broken").unlink()
    assert told("saga", "retry", "billing", "refund-1")["status"] == "compensating"
    until(lambda: listed() == {})
    assert listed("--status", "all") == dict.fromkeys(("refund-1", "refund-2", "refund-3", "slow-1"), "compensated")
    assert skerry("saga", "list").stdout == "no sagas that are running or compensating or stuck\n"
    by_hand = [each["what"] for each in told("saga", "show", "billing", "refund-1")["timeline"] if each["by_hand"]]
    assert by_hand == ["retry", "retry"]


def test_what_cannot_be_done_is_refused_in_words(running: Path) -> None:
    """Unknown sagas, acts that do not fit and results that are no JSON change nothing and say what is wrong."""
    until(lambda: status("refund-1") == "stuck")
    for arguments, status_code, text in (
        (("show", "billing", "nobody"), 1, "there is no saga with the id or the key 'nobody'"),
        (("retry", "billing", "slow-1"), 1, "the saga is running: only a stuck one can be told to retry"),
        (("cancel", "billing", "refund-1"), 1, "the saga is stuck: there is nothing to turn back"),
        (("resolve", "billing", "refund-1"), 2, "Missing option '--as'"),
        (("skip", "billing", "refund-1", "--step", "take", "--result", "{"), 2, "it is no JSON"),
        (("list", "--service", "nobody"), 1, "has no service 'nobody'"),
    ):
        done = skerry("saga", *arguments)
        assert (done.exit_code, text in done.stderr) == (status_code, True), done.stderr
    assert json.loads(skerry("saga", "list", "--status", "completed", "-o", "json").stdout) == {"sagas": []}


def test_a_saga_that_waits_is_signalled_from_the_command_line(tmp_path: Path) -> None:
    """With a value, by its key; what nobody waits for, and what is no JSON, is refused."""
    (tmp_path / "skerry.toml").write_text(
        '[system]\nname = "shop"\n[services.billing]\napp = "billing:service"\ndatabase = "sqlite:///billing.db"\n'
    )
    where = ("--file", tmp_path / "skerry.toml", "--data", tmp_path)
    saga = Saga("refund", input=str)
    saga.receive("approval", dict)

    async def drive(*, start: bool) -> str:
        database = SQLiteDatabase(tmp_path / "billing.db", owner="billing")
        await database.open()
        await Journal.prepare(database)
        engine = Engine("billing", database)
        engine.add(saga)
        serving = asyncio.create_task(engine.serve())
        if start:
            async with database.transaction() as tx:
                await engine.start(tx, saga, "x", key="refund-1")
        status = await engine.find(saga, "refund-1")
        assert status is not None
        while "approval" not in status.steps if start else not status.ended:
            await asyncio.sleep(0.01)
            status = await engine.find(saga, "refund-1")
            assert status is not None
        await engine.stop(serving, within=5.0)
        await database.close()
        return str(status.result("approval"))

    asyncio.run(drive(start=True))
    refused = skerry("saga", "signal", "billing", "refund-1", "payment", *where)
    assert (refused.exit_code, refused.stderr) == (1, "error: no step of the saga waits for 'payment'\n")
    assert skerry("saga", "signal", "billing", "refund-1", "approval", "--value", "{", *where).exit_code == 2
    sent = skerry("saga", "signal", "billing", "refund-1", "approval", "--value", '{"by": "ann"}', *where)
    assert sent.stdout == "billing: refund refund-1 was sent approval\n"
    assert asyncio.run(drive(start=False)) == "{'by': 'ann'}"
    shown = told("saga", "show", "billing", "refund-1", *where)["timeline"]
    assert [(each["what"], each["step"]) for each in shown[1:4]] == [
        ("waits", "approval"),
        ("signalled", "approval"),
        ("done", "approval"),
    ]
