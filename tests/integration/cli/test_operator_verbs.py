"""Dead letters, the outbox and projections of a service, seen and changed while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from verbs import BOUND, skerry, told, until

from skerry.deploy import SecretFolder
from skerry.events import Outbox
from skerry.store import Receipts, SQLiteDatabase, connect


def listed(*arguments: object) -> list[tuple[str, int]]:
    return [(each["key"], each["held"]) for each in told("dead", "list", *arguments)["dead"]]


def bills(data: Path) -> list[tuple[str, int]]:
    """What the service has billed, in its order."""
    url = SecretFolder(data / "secrets").read("billing").get("SKERRY_DATABASE", "sqlite:///billing.db")

    async def look() -> list[tuple[str, int]]:
        database = connect(url, owner="billing", data=data)
        await database.open()
        try:
            return [tuple(row) for row in await database.fetch_all("SELECT name, n FROM bills")]
        finally:
            await database.close()

    return asyncio.run(look())


def test_dead_letters_are_seen_replayed_and_dropped_beside_the_running_service(running: Path) -> None:
    """What fails is listed with what waits behind it; replayed, it is handled in order; dropped, the others go on."""
    until(lambda: listed() == [("order-1", 2), ("order-2", 0)])
    first, second = (each["id"] for each in told("dead", "list")["dead"])
    shown = skerry("dead", "list", "--service", "billing")
    assert shown.stdout.startswith("2 dead letters\n\nSERVICE  ID")
    assert "customer" not in shown.stdout
    assert listed("--key", "order-2", "--type", "shop.order.placed") == [("order-2", 0)]
    assert listed("--type", "shop.order.paid") == []
    assert listed("--limit", "1") == [("order-1", 2)]
    assert "the oldest 1 of 2 dead letters" in skerry("dead", "list", "--limit", "1").stdout

    letter = told("dead", "show", "billing", first)
    assert (letter["state"], letter["attempts"], letter["held"], letter["reason"]) == ("dead", 2, 2, "OSError")
    assert letter["envelope"]["data"] == {"order": "order-1", "n": 1}
    assert '\n    "n": 1\n' in skerry("dead", "show", "billing", first).stdout

    (running / "broken").unlink()
    refused = skerry("dead", "drop", "billing", first)
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert told("dead", "drop", "billing", second, 10**6, "--yes", status=1)["letters"] == [
        {"id": second, "done": True},
        {"id": 10**6, "done": False},
    ]
    assert told("dead", "replay", "billing", second, status=1)["letters"] == [{"id": second, "done": False}]
    done = skerry("dead", "replay", "billing", "--all", "--key", "order-1")
    assert done.stdout == (
        f"billing: 1 dead letter will be tried again, 0 left\nbilling: {first} will be tried again\n"
    )
    until(lambda: ("order-1", 3) in bills(running))
    assert [n for name, n in bills(running) if name == "order-1"] == [1, 2, 3]
    assert "order-2" not in dict(bills(running))
    assert skerry("dead", "list").stdout == "no dead letters\n"


def test_the_outbox_and_projections_are_seen_and_one_is_rebuilt(
    running: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delayed events are told from those that wait; a rebuild is waited for until the new generation is the one that is read."""
    until(lambda: told("outbox") == [{"service": "billing", "waiting": 0, "delayed": 1, "oldest": None}])
    assert skerry("outbox").stdout.startswith("0 events to hand over\n\nSERVICE  WAITING  OLDEST  DELAYED\nbilling  0")
    live = {"service": "billing", "name": "totals", "version": 1, "live": 1, "building": 0}
    until(lambda: told("projection", "list") == {"projections": [live], "total": 1})
    assert told("projection", "rebuild", "billing", "totals") == {**live, "live": 2, "begun": True}
    done = skerry("projection", "rebuild", "billing", "totals")
    assert (done.exit_code, done.stdout) == (0, "totals 1: generation 3 is live\n")
    assert "totals 1: building generation 3" in done.stderr
    asked = skerry("projection", "rebuild", "billing", "totals", "--version", "1", "--no-wait")
    assert asked.exit_code == 0
    until(lambda: told("projection", "list")["projections"] == [{**live, "live": 4}])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for options in ((), ("--data", running), ("--file", running.parent / "skerry.toml")):
        assert told("outbox", *options)[0]["delayed"] == 1
    unknown = skerry("projection", "rebuild", "billing", "totals", "--version", "2")
    assert (unknown.exit_code, unknown.stderr) == (1, "error: billing has no projection totals 2: it has totals 1\n")


def test_an_old_version_of_a_projection_is_dropped_once_its_release_is_gone(running: Path) -> None:
    """While a process of that release runs it is refused; afterwards its tables go, and those of the new one stay."""
    first = {"service": "billing", "name": "totals", "version": 1, "live": 1, "building": 0}
    until(lambda: told("projection", "list")["projections"] == [first])
    drop = ("projection", "drop", "billing", "totals", "--version", "1")
    assert skerry(*drop).exit_code == 2
    refused = skerry(*drop, "--yes")
    assert (refused.exit_code, "keeps totals 1 up to date" in refused.stderr) == (1, True)

    code = running.parent / "billing.py"
    code.write_text(code.read_text().replace('"totals", tables', '"totals", version=2, tables'))
    [pid] = [each["pid"] for each in told("ps", "--data", running)["processes"] if each["name"] == "billing"]
    os.kill(pid, signal.SIGKILL)
    second = {**first, "version": 2}
    until(lambda: told("projection", "list")["projections"] == [first, second])
    assert told(*drop, "--yes") == {
        "service": "billing", "name": "totals", "version": 1, "tables": ["totals_1_1_orders"],
    }  # fmt: skip
    assert told("projection", "list")["projections"] == [second]
    gone = skerry(*drop, "--yes")
    assert (gone.exit_code, gone.stderr) == (1, "error: billing has no projection totals 1: it has totals 2\n")


def prepared(data: Path, *, dead: int = 0, owner: str = "billing", body: str = "{}") -> None:
    """A database as the service leaves it, with dead letters in it."""

    async def prepare() -> None:
        database = SQLiteDatabase(data / "billing.db", owner=owner)
        await database.open()
        await Receipts.prepare(database)
        await Outbox.prepare(database)
        async with database.transaction() as tx:
            for n in range(1, dead + 1):
                await tx.execute(
                    "INSERT INTO skerry_parked (consumer, event_id, type, key, body, state, attempts, due_at, reason, parked_at)"
                    " VALUES ('billing', ?, 't', ?, ?, 'dead', 1, 0, '\x1b[2J', 0)",
                    (f"e{n}", f"k{n}", body),
                )
        await database.close()

    data.mkdir(exist_ok=True)
    asyncio.run(prepare())


def test_a_stopped_system_is_looked_at_in_its_data_folder(here: Path) -> None:
    """Without a running system `--data` says where; what came from elsewhere cannot command the terminal."""
    prepared(here / "kept", dead=3, body='{"data": "NaN\x1b", "n": NaN}')
    nowhere = skerry("dead", "list")
    assert (nowhere.exit_code, "--data" in nowhere.stderr) == (1, True)
    assert listed("--data", "kept") == [("k1", 0), ("k2", 0), ("k3", 0)]
    shown = skerry("dead", "list", "--data", "kept", "--limit", "2").stdout
    assert "the oldest 2 of 3 dead letters" in shown
    assert "\x1b" not in shown
    letter = told("dead", "show", "billing", 1, "--data", "kept")
    assert (letter["envelope"], letter["body"]) == (None, '{"data": "NaN\x1b", "n": NaN}')
    assert "\x1b" not in skerry("dead", "show", "billing", 1, "--data", "kept").stdout
    assert told("dead", "replay", "billing", "--all", "--limit", 2, "--data", "kept") == {
        "service": "billing",
        "letters": [{"id": 1, "done": True}, {"id": 2, "done": True}],
        "left": 1,
    }


def test_the_address_of_one_named_service_may_come_from_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SKERRY_DATABASE` counts where one service is named, even without a system file; a folder of `--env` counts for all."""
    prepared(here / "other", dead=1)
    monkeypatch.setenv("SKERRY_DATABASE", f"sqlite:///{here / 'other' / 'billing.db'}")
    assert skerry("dead", "list").exit_code == 1
    (here / "skerry.toml").rename(here / "system.toml")
    assert listed("--service", "billing") == [("k1", 0)]
    monkeypatch.delenv("SKERRY_DATABASE")
    SecretFolder(here / "env").write("billing", {"SKERRY_DATABASE": f"sqlite:///{here / 'other' / 'billing.db'}"})
    assert listed("--file", "system.toml", "--env", "env") == [("k1", 0)]


def test_a_confirmation_is_asked_on_a_terminal(here: Path) -> None:
    """On a terminal a person is told what waits behind the event, and decides."""
    prepared(here / "kept", dead=1)
    command = [sys.executable, "-m", "skerry", "dead", "drop", "billing", "1", "--data", "kept"]
    for answer, left in ((b"n\n", [("k1", 0)]), (b"y\n", [])):
        master, slave = pty.openpty()
        with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.write(master, answer)
            _, error = process.communicate(timeout=BOUND)
        os.close(slave)
        os.close(master)
        assert b"billing 1: t of k1, for billing; none waits behind it" in error
        assert process.returncode == (0 if not left else 1)
        assert listed("--data", "kept") == left


def test_what_cannot_be_used_is_an_error_that_says_what_to_do(here: Path) -> None:
    """A database that is not there is not made, a strange one stays as it is, an older one is not migrated."""
    file = here / "kept" / "billing.db"
    (here / "kept").mkdir()

    def error(*arguments: object) -> str:
        done = skerry("dead", "list", "--data", "kept", *arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.output
        return done.stderr

    assert f"there is no file {file}" in error()
    assert not file.exists()
    assert "tiny has no service 'x': it has billing, hollow" in error("--service", "x")
    assert "the service hollow has no database" in error("--service", "hollow")

    strange = sqlite3.connect(file)
    strange.execute("CREATE TABLE mine (x)")
    strange.close()
    before = file.read_bytes()
    assert "is not the database of a service" in error()
    assert file.read_bytes() == before

    file.unlink()
    prepared(here / "kept", owner="payment")
    assert "belongs to the service 'payment'" in error()
    file.unlink()
    prepared(here / "kept")
    old = sqlite3.connect(file)
    old.execute("DELETE FROM skerry_migrations WHERE component = 'skerry.events' AND version = '0003'")
    old.commit()
    old.close()
    assert "older release of skerry, or none (0003_pre_projections.sql was not applied)" in error()


def test_passwords_are_never_shown(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that cannot be reached or read is named by host and port only."""
    for address in ("postgresql://u:hush@127.0.0.1:1/db", "postgresql://u:hush@127.0.0.1:hush/db", "mysql:hush"):
        monkeypatch.setenv("SKERRY_DATABASE", address)
        done = skerry("dead", "list", "--service", "billing")
        assert done.exit_code == 1
        assert done.stderr.startswith("error: the database of billing"), done.stderr
        assert "hush" not in done.output


def test_wrong_usage_of_replay(here: Path) -> None:
    """Ids and `--all` exclude each other, and filters go with `--all`: anything else is exit status 2."""
    for arguments in ((), (1, "--all"), (1, "--key", "k"), (0,), (2**63,)):
        assert skerry("dead", "replay", "billing", *arguments).exit_code == 2


def test_json_survives_a_damaged_neighbour(here: Path) -> None:
    """One database that cannot be opened hides no other: the rest is printed, and the exit status is 1."""
    prepared(here / "kept", dead=1)
    (here / "skerry.toml").write_text(
        (here / "skerry.toml").read_text() + '[services.gone]\napp = "x:y"\ndatabase = "sqlite:///gone.db"\n'
    )
    done = skerry("dead", "list", "--data", "kept", "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["total"]) == (1, 1)
    assert "the database of gone" in done.stderr
