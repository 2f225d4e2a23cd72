"""Processes that are killed while they migrate: a file is applied whole or not at all, and the next one goes on."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[2])]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.errors import MigrationError  # noqa: E402
from skerry.store import connect, migrate, schema_status  # noqa: E402

PROGRAM = Path(__file__).parent / "migrating.py"
BOUND = 120.0
FILES = 8
KILLS = 12
SLOW = {
    "sqlite": "INSERT INTO filler WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000) "
    "SELECT n FROM c;\nDELETE FROM filler;",
    "postgresql": "SELECT pg_sleep(0.2);",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


class World:
    """A database, a folder of files, and the processes that migrate it."""

    def __init__(self, engine: str, address: str, folder: Path) -> None:
        self.engine = engine
        self.address = address
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.write("0001_begin", "CREATE TABLE log (file TEXT, part TEXT);\nCREATE TABLE filler (n INTEGER);")

    def write(self, name: str, text: str) -> None:
        (self.folder / "sql").mkdir(exist_ok=True)
        (self.folder / "sql" / f"{name}.sql").write_text(text)

    def slow_file(self, version: str, slow: str = "") -> None:
        parts = [f"INSERT INTO log VALUES ('{version}', '{part}');" for part in ("begin", "end")]
        self.write(f"{version}_slow", f"{parts[0]}\n{slow or SLOW[self.engine]}\n{parts[1]}")

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), self.address, str(self.folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
        self.processes.remove(process)

    def done(self) -> bool:
        """Whether every process has ended, and well."""
        for process in [each for each in self.processes if each.poll() is not None]:
            output = process.communicate()
            assert process.returncode == 0, output
            self.processes.remove(process)
        return not self.processes

    def ask(self, question: Any) -> Any:
        async def answered() -> Any:
            database = connect(self.address, owner="order", data=self.folder)
            await database.open()
            try:
                return await question(database)
            finally:
                await database.close()

        return asyncio.run(answered())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.ask(lambda database: database.fetch_all(sql))]

    def until(self, condition: Any) -> None:
        end = time.monotonic() + BOUND
        while not condition():
            assert time.monotonic() < end, "waited too long"
            time.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    address = "sqlite:///order.db"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres").own_database(f"killed{next(_numbers)}")
    made = World(request.param, address, tmp_path)
    yield made
    for process in list(made.processes):
        made.kill(process)


def test_kill_9_at_random_moments_applies_each_file_once(world: World) -> None:
    """Three processes at a time, killed over and over: in the end each file was applied once, whole and in order."""
    chance = random.Random(7)
    for number in range(2, FILES + 2):
        world.slow_file(f"{number:04}")
    kills = 0
    while kills < KILLS:
        while len(world.processes) < 3:
            world.start()
        time.sleep(chance.uniform(0.0, 0.6))  # also so soon that a quick machine has not ended by then
        victim = chance.choice(world.processes)
        if victim.poll() is None:
            kills += 1
            world.kill(victim)
        world.done()
    world.start()
    world.until(world.done)
    versions = [f"{number:04}" for number in range(2, FILES + 2)]
    assert world.rows("SELECT file, part FROM log") == [
        (version, part) for version in versions for part in ("begin", "end")
    ]
    recorded = "SELECT version FROM skerry_migrations WHERE component = 'shop' ORDER BY version"
    assert world.rows(recorded) == [("0001",), *((version,) for version in versions)]


def test_kill_9_in_the_middle_of_a_file_leaves_nothing_of_it(world: World) -> None:
    """The first statements of a killed file are gone; the next process waits for what the server still does, and repeats it."""
    slow = {"sqlite": SLOW["sqlite"].replace("200000", "20000000"), "postgresql": "SELECT pg_sleep(4);"}[world.engine]
    world.slow_file("0002", slow)
    process = world.start()
    assert process.stdout is not None
    while process.stdout.readline() != "0002_slow.sql\n":
        assert process.poll() is None
    if world.engine == "postgresql":
        asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        world.until(lambda: world.rows(asleep))
    else:
        world.until(lambda: (world.folder / "order.db-wal").stat().st_size > 1_000_000)
    assert process.poll() is None
    world.kill(process)
    assert world.rows("SELECT * FROM log") == []
    assert world.rows("SELECT version FROM skerry_migrations WHERE component = 'shop' AND version = '0002'") == []
    if world.engine == "sqlite":
        world.slow_file("0002")
    world.start()
    world.until(world.done)
    assert world.rows("SELECT part FROM log") == [("begin",), ("end",)]


def test_kill_9_while_an_index_is_made_concurrently(postgres: PostgresServer, tmp_path: Path) -> None:
    """The server goes on by itself; until it is done that is told, and then the file is recorded without a second index."""
    world = World("postgresql", postgres.own_database(f"killed{next(_numbers)}"), tmp_path)
    world.start()
    world.until(world.done)
    world.write("0002_i", "-- skerry: no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS filler_n ON filler (n);")
    folder = tmp_path / "sql"

    async def hold(database: Any) -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO filler VALUES (1)")  # the index waits for it
            process = world.start()
            while not await database.fetch_all(
                "SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"
            ):
                assert process.poll() is None
                await asyncio.sleep(0.02)
            world.kill(process)
            with pytest.raises(
                MigrationError, match=r"filler_n is INVALID, .* process \d+ of the server is still at it"
            ):
                await asyncio.wait_for(asyncio.create_task(again()), BOUND)
        while await database.fetch_all("SELECT 1 FROM pg_stat_progress_create_index"):
            await asyncio.sleep(0.02)
        assert not (await schema_status(database, "shop", folder)).applied.get("0002")
        assert await migrate(database, "shop", folder) == ["0002"]

    async def again() -> None:
        database = connect(world.address, owner="order", data=tmp_path)
        await database.open()
        try:
            await migrate(database, "shop", folder)
        finally:
            await database.close()

    world.ask(hold)
    assert world.rows("SELECT indisvalid FROM pg_index WHERE indexrelid = 'filler_n'::regclass") == [(True,)]
