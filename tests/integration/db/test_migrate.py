"""`skerry db migrate` and `skerry db status`, as a pipeline runs them: beside services, beside each other, on both engines."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from servers.postgresql import PostgresServer
from skerry.cli.main import main
from skerry.deploy import SecretFolder
from skerry.store import connect

BOUND = 120.0
_numbers = itertools.count(1)

SYSTEM = """
[system]
name = "inn"

[services.desk]
app = "desk:service"
database = "sqlite:///desk.db"

[services.kitchen]
app = "kitchen:service"
database = "sqlite:///kitchen.db"
env = { MENU = "long" }

[services.mail]
app = "mail:service"
"""
MODULE = """
import os
from pathlib import Path
from skerry.service import Service

print("modules may print")
assert "SKERRY_DATABASE" not in os.environ
service = Service("{name}", database="sqlite:///{name}.db", migrations=Path("sql") / "{name}")
"""


@dataclass
class Inn:
    """Two services with tables of their own, and where their databases are."""

    folder: Path
    addresses: dict[str, str]

    def write(self, service: str, **files: str) -> None:
        folder = self.folder / "sql" / service
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / f"{name.removeprefix('v')}.sql").write_text(text)

    def run(self, *arguments: object) -> Result:
        where = ["--file", self.folder / "skerry.toml", "--data", self.folder / "var", "--env", self.folder / "env"]
        return CliRunner().invoke(main, ["db", *(str(each) for each in (*arguments, *where))])

    def told(self, *arguments: object, status: int = 0) -> Any:
        done = self.run(*arguments, "-o", "json")
        assert done.exit_code == status, (done.output, done.exception)
        return json.loads(done.stdout)

    def ask(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        async def query() -> list[tuple[Any, ...]]:
            database = connect(self.addresses[service], owner=service, data=self.folder / "var")
            await database.open()
            try:
                return [tuple(row) for row in await database.fetch_all(sql)]
            finally:
                await database.close()

        return asyncio.run(query())


@pytest.fixture(params=["sqlite", "postgresql"])
def inn(request: pytest.FixtureRequest, tmp_path: Path) -> Inn:
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "env").mkdir()
    addresses = {}
    for name in ("desk", "kitchen"):
        (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
        addresses[name] = f"sqlite:///{name}.db"
        if request.param == "postgresql":
            addresses[name] = request.getfixturevalue("postgres").own_database(f"{name}{next(_numbers)}")
            SecretFolder(tmp_path / "env").write(name, {"SKERRY_DATABASE": addresses[name]})
    (tmp_path / "kitchen.py").write_text(
        'import os\nassert os.environ["MENU"] == "long"\n' + MODULE.format(name="kitchen")
    )
    found = Inn(tmp_path, addresses)
    found.write("desk", v0001_rooms="CREATE TABLE rooms (n INTEGER, memo TEXT);")
    found.write("kitchen", v0001_meals="CREATE TABLE meals (n INTEGER);")
    return found


OWN = [
    ("skerry.store", "0001_pre_receipts.sql"),
    ("skerry.events", "0001_pre_events.sql"),
    ("skerry.saga", "0001_pre_saga.sql"),
]


def files(entries: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(entry["component"], entry["file"]) for entry in entries]


def test_a_release_goes_out_in_two_steps(inn: Inn) -> None:
    """Everything for a new database; later what old code can live with, and after the deploy the rest. Nothing is done twice."""
    first = inn.told("migrate")["services"]
    assert [each["service"] for each in first] == ["desk", "kitchen"]
    assert set(files(first[0]["applied"])) >= {*OWN, ("desk", "0001_rooms.sql")}
    assert inn.run("migrate").stdout == "desk     nothing to apply\nkitchen  nothing to apply\n"

    inn.write(
        "desk", v0002_pre_note="ALTER TABLE rooms ADD note TEXT;", v0003_post_memo="ALTER TABLE rooms DROP COLUMN memo;"
    )
    before = inn.run("migrate", "desk")
    assert (before.exit_code, before.stdout) == (0, "desk  1 file applied, 1 left for after the deploy\n"), (
        before.output
    )
    assert before.stderr == "importing 1 service of inn\ndesk: desk 0002_pre_note.sql\n"
    assert inn.ask("desk", "SELECT n, memo, note FROM rooms") == []
    assert inn.told("migrate", "--before", "desk")["services"] == [
        {"service": "desk", "applied": [], "left": [{"component": "desk", "file": "0003_post_memo.sql"}], "error": None}
    ]
    after = inn.told("migrate", "--after")["services"]
    assert [(files(each["applied"]), each["left"]) for each in after] == [
        ([("desk", "0003_post_memo.sql")], []),
        ([], []),
    ]
    assert inn.ask("desk", "SELECT n, note FROM rooms") == []


def test_status_shows_what_is_to_come_and_changes_nothing(inn: Inn) -> None:
    """Of databases that are not there yet, and of those that are; a changed file is status 1, a newer database is not."""
    fresh = inn.run("status")
    assert (fresh.exit_code, fresh.stdout.startswith("desk     to come: ")) == (0, True), fresh.output
    assert not (inn.folder / "var").exists()
    assert inn.told("migrate", "desk")

    inn.write(
        "desk", v0002_note="ALTER TABLE rooms ADD note TEXT;", v0003_post_memo="ALTER TABLE rooms DROP COLUMN memo;"
    )
    shown = inn.run("status", "desk")
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert lines[0] == "desk  to come: 1 before the deploy, 1 after it"
    assert lines[2:] == [
        "SERVICE  COMPONENT  FILE                WHEN    STATE",
        "desk     desk       0002_note.sql       before  pending",
        "desk     desk       0003_post_memo.sql  after   pending",
    ]
    told = inn.told("status", "desk")
    assert [each["component"] for each in told] == ["skerry.store", "skerry.events", "skerry.saga", "desk"]
    assert [(each["file"], each["when"], each["state"]) for each in told[-1]["files"]] == [
        ("0001_rooms.sql", "before", "applied"),
        ("0002_note.sql", "before", "pending"),
        ("0003_post_memo.sql", "after", "pending"),
    ]
    assert told[-1]["files"][0]["applied_at"] > 1e9
    assert inn.ask("desk", "SELECT n, memo FROM rooms") == []

    inn.write("desk", v0001_rooms="CREATE TABLE rooms (n INTEGER);")
    changed = inn.told("status", "desk", status=1)
    assert changed[-1]["files"][0]["state"] == "changed"
    refused = inn.run("migrate", "desk")
    assert (refused.exit_code, refused.stdout) == (1, "desk  failed\n")
    assert refused.stderr.endswith(
        "error: desk: 0001_rooms.sql was changed after it was applied; add a new file instead\n"
    )
    (inn.folder / "sql" / "desk" / "0001_rooms.sql").unlink()
    ahead = inn.told("status", "desk")
    assert ahead[-1]["files"][0] | {"applied_at": 0} == {
        "file": "0001",
        "when": None,
        "state": "newer",
        "applied_at": 0,
    }


def test_what_may_break_older_code_is_warned_of(inn: Inn) -> None:
    """A file for before the deploy that takes away is told; after the deploy, or with a reason in it, it is not."""
    inn.told("migrate")
    inn.write("desk", v0002_pre_memo="ALTER TABLE rooms DROP COLUMN memo;")
    inn.write("kitchen", v0002_meals="-- skerry: safe, for nobody has read it\nALTER TABLE meals RENAME n TO m;")
    warned = inn.run("migrate")
    assert warned.exit_code == 0
    assert "warning: desk: 0002_pre_memo.sql may break the code that runs now: DROP COLUMN\n" in warned.stderr
    assert "warning: kitchen" not in warned.stderr


def test_one_failure_does_not_keep_the_others_from_being_done(inn: Inn) -> None:
    """The failing file is named, nothing of it stays, the other database is migrated, and the exit status is 1."""
    inn.told("migrate")
    inn.write(
        "desk",
        v0002_a="ALTER TABLE rooms ADD a INTEGER;",
        v0003_b="CREATE TABLE b (n INTEGER);\nSELECT * FROM nowhere;",
    )
    inn.write("kitchen", v0002_a="ALTER TABLE meals ADD a INTEGER;")
    done = inn.run("migrate", "-o", "json")
    assert done.exit_code == 1
    desk, kitchen = json.loads(done.stdout)["services"]
    assert files(desk["applied"]) == [("desk", "0002_a.sql")]
    assert desk["error"].startswith("0003_b.sql: ")
    assert "nowhere" in desk["error"]
    assert (files(kitchen["applied"]), kitchen["error"]) == ([("kitchen", "0002_a.sql")], None)
    inn.write("desk", v0003_b="CREATE TABLE b (n INTEGER);")
    assert files(inn.told("migrate")["services"][0]["applied"]) == [("desk", "0003_b.sql")]


def test_a_service_that_cannot_be_imported_stops_everything_before_it_begins(inn: Inn) -> None:
    """Which service, and why; no database is touched."""
    (inn.folder / "kitchen.py").write_text("raise OSError('no menu')")
    for verb in ("migrate", "status"):
        done = inn.run(verb)
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        assert "kitchen: cannot import kitchen:service: OSError: no menu" in done.stderr
    assert not (inn.folder / "var").exists()
    for text, why in (
        ("service = 1", "is not a skerry Service"),
        ("import nothing_of_that_name", "cannot import 'kitchen'"),
    ):
        (inn.folder / "kitchen.py").write_text(text)
        assert why in inn.run("migrate", "kitchen").stderr
    assert "inn has no service 'bar': it has desk, kitchen, mail" in inn.run("migrate", "bar").stderr
    assert "the service mail has no database" in inn.run("migrate", "mail").stderr


@pytest.fixture
def alone(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Inn:
    """The folder of one service, as in its container: no system file, the address in the environment."""
    (inn.folder / "skerry.toml").unlink()
    monkeypatch.chdir(inn.folder)
    monkeypatch.setenv("SKERRY_DATA", str(inn.folder / "var"))
    return inn


def test_a_service_without_a_system_file_is_named_by_its_module(alone: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    """`MODULE:ATTRIBUTE` with the address in SKERRY_DATABASE; without it, or beside another, it is refused."""
    for arguments in (("desk:service",), ("desk:service", "kitchen:service")):
        done = CliRunner().invoke(main, ["db", "migrate", *arguments])
        assert (done.exit_code, "SKERRY_DATABASE" in done.stderr) == (1, True)
    monkeypatch.setenv("SKERRY_DATABASE", alone.addresses["desk"])
    done = CliRunner().invoke(main, ["db", "migrate", "desk:service"])
    assert (done.exit_code, done.stdout.endswith("files applied\n")) == (0, True), done.output
    shown = CliRunner().invoke(main, ["db", "status", "desk:service"])
    assert shown.stdout == "desk  nothing to come\n", shown.output
    assert alone.ask("desk", "SELECT n FROM rooms") == []


PROCESSES = 4


def test_many_processes_apply_each_file_once(inn: Inn) -> None:
    """Migrating commands and starting services, all at once, on a new database and on one in use."""
    count = "CREATE TABLE counted (name TEXT);"
    inn.write(
        "desk", v0002_count=count, **{f"v{n:04}_more": f"INSERT INTO counted VALUES ('{n}');" for n in range(3, 13)}
    )
    where = ["--file", "skerry.toml", "--data", "var", "--env", "env"]
    begin = [sys.executable, "-m", "skerry", "db", "migrate", "desk", *where]

    def all_at_once(*commands: list[str]) -> None:
        running = [
            subprocess.Popen(command, cwd=inn.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        for process in running:
            output = process.communicate(timeout=BOUND)
            assert process.returncode == 0, output

    all_at_once(*[begin] * PROCESSES)
    assert inn.ask("desk", "SELECT name FROM counted ORDER BY CAST(name AS INTEGER)") == [
        (str(n),) for n in range(3, 13)
    ]
    inn.write("desk", **{f"v{n:04}_more": f"INSERT INTO counted VALUES ('{n}');" for n in range(13, 23)})
    (inn.folder / "starting.py").write_text(START.format(address=inn.addresses["desk"]))
    all_at_once(*[begin, [sys.executable, "starting.py"]] * (PROCESSES // 2))
    assert inn.ask("desk", "SELECT name FROM counted ORDER BY CAST(name AS INTEGER)") == [
        (str(n),) for n in range(3, 23)
    ]


START = """
import asyncio
from pathlib import Path
from skerry.service import Service
from skerry.settings import Settings

async def main():
    settings = Settings(data=Path("var").resolve(), database={address!r})
    service = Service("desk", database="sqlite:///desk.db", migrations=Path("sql/desk"), settings=settings)
    await service.start()
    await service.stop()

asyncio.run(main())
"""


def test_no_password_is_shown(inn: Inn) -> None:
    """Neither in what is printed nor in an error, also when the database cannot be reached."""
    secret = "hush"
    SecretFolder(inn.folder / "env").write("desk", {"SKERRY_DATABASE": f"postgresql://u:{secret}@127.0.0.1:1/d"})
    for verb in ("migrate", "status"):
        done = inn.run(verb, "desk")
        assert (done.exit_code, "error: desk: the database of desk cannot be opened" in done.stderr) == (1, True), (
            done.output
        )
        assert secret not in done.output


def test_a_table_that_is_in_use_is_waited_for(postgres: PostgresServer, tmp_path: Path) -> None:
    """Progress says that a file waits for its locks, and when it gives up, that nothing of it was applied."""
    address = postgres.own_database(f"waiting{next(_numbers)}")
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "desk.py").write_text(MODULE.format(name="desk"))
    SecretFolder(tmp_path / "env").write("desk", {"SKERRY_DATABASE": address})
    inn = Inn(tmp_path, {"desk": address})
    inn.write("desk", v0001_rooms="CREATE TABLE rooms (n INTEGER);")
    inn.told("migrate", "desk")
    inn.write("desk", v0002_note="ALTER TABLE rooms ADD note TEXT;")

    async def hold() -> Result:
        database = connect(address, owner="desk", data=tmp_path)
        await database.open()
        async with database.transaction() as tx:
            await tx.fetch_all("SELECT n FROM rooms")
            done = await asyncio.to_thread(inn.run, "migrate", "desk", "--wait", "2.5")
        await database.close()
        return done

    done = asyncio.run(hold())
    assert (done.exit_code, done.stdout) == (1, "desk  failed\n")
    assert "desk: 0002_note.sql waits for its locks; next try in " in done.stderr
    assert "error: desk: 0002_note.sql waited 2.5 s for its locks on the database of desk; nothing of it" in done.stderr
    assert files(inn.told("migrate", "desk")["services"][0]["applied"]) == [("desk", "0002_note.sql")]


def test_a_file_of_somebody_else_is_not_touched_by_looking(tmp_path: Path) -> None:
    """`status` of a database without skerry's tables is an error, and not a byte of the file changes; where a server has kept its
    data, no file is made beside them.
    """
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "desk.py").write_text(MODULE.format(name="desk"))
    inn = Inn(tmp_path, {})
    (tmp_path / "env").mkdir()
    (tmp_path / "var").mkdir()
    with closing(sqlite3.connect(tmp_path / "var" / "desk.db")) as strange:
        strange.execute("CREATE TABLE mine (n)")
    before = (tmp_path / "var" / "desk.db").read_bytes()
    done = inn.run("status", "desk")
    assert (done.exit_code, "is not the database of a service" in done.stderr) == (1, True), done.output
    assert (tmp_path / "var" / "desk.db").read_bytes() == before
    (tmp_path / "var" / "desk.db").unlink()
    (tmp_path / "var" / "postgresql").mkdir()
    for verb in ("status", "migrate"):
        done = inn.run(verb, "desk")
        assert (done.exit_code, "can be asked only while the system runs" in done.stderr) == (1, True), done.output
    assert not (tmp_path / "var" / "desk.db").exists()
