"""A rolling upgrade: old and new code at the same time, as processes of one service on one database, from the first migration
to the last. The old code is the last release's wheel.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

HERE = Path(__file__).parent
INN = HERE / "inn"
sys.path.insert(0, str(HERE.parent))

from servers.process import free_port  # noqa: E402

RELEASES = sorted(HERE.glob("skerry-*.whl"))
ROOMS = ("attic", "cellar", "loft")
BOUND = 120.0


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds; the bound is against hangs."""
    end = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


class Process:
    """A service of one release, as a process of its own."""

    def __init__(self, service: str, release: str, data: Path, wheel: Path) -> None:
        self.port = free_port()
        path = [str(INN)] if release == "new" else [str(wheel), str(INN)]
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "RELEASE": release,
            "SKERRY_DATA": str(data),
            "SKERRY_PORT": str(self.port),
            "SKERRY_MIGRATE": "never",
        }
        self.log = data / f"{service}-{release}-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "skerry.service", f"{service}:service"], env=environ, stdout=log, stderr=log
            )
        # The old release closes idle connections after five seconds, just as the client does: one of them has to be the first.
        self.http = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=30.0,
            limits=httpx2.Limits(keepalive_expiry=1.0),
            trust_env=False,
        )
        until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def book(self, room: str) -> None:
        answer = self.http.post(f"/book/{room}")
        assert answer.status_code == 200, answer.text

    def end(self, number: int = signal.SIGTERM) -> int:
        self.http.close()
        self.process.send_signal(number)
        return self.process.wait(BOUND)


class Inn:
    """The data of the inn, what runs on them, and the command line of today."""

    def __init__(self, data: Path, wheel: Path) -> None:
        self.data = data
        self.wheel = wheel
        self.running: list[Process] = []
        self.rooms = itertools.cycle(ROOMS)
        self.booked = 0

    def start(self, service: str, release: str) -> Process:
        process = Process(service, release, self.data, self.wheel)
        self.running.append(process)
        return process

    def end(self, process: Process, number: int = signal.SIGTERM) -> int:
        self.running.remove(process)
        return process.end(number)

    def book(self, *desks: Process, times: int) -> None:
        """Book at these desks in turn, and wait until all of it is handled and each saga has ended."""
        for desk, room in itertools.islice(zip(itertools.cycle(desks), self.rooms, strict=False), times):
            desk.book(room)
            self.booked += 1
        self.settle()

    def settle(self) -> None:
        until(lambda: self.count("desk", "handled") == self.count("kitchen", "handled") == self.booked)
        until(lambda: self.count("desk", "skerry_sagas WHERE status = 'completed'") == self.booked)

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data / f"{service}.db")) as connection:
            return connection.execute(sql).fetchall()

    def count(self, service: str, what: str) -> int:
        return int(self.rows(service, f"SELECT count(*) FROM {what}")[0][0])

    def migrate(self, *words: str) -> dict[str, list[str]]:
        """`skerry db migrate`; the service's own files that it applied."""
        command = [sys.executable, "-m", "skerry", "db", "migrate", *words, "--file", str(INN / "skerry.toml")]
        ran = subprocess.run(
            [*command, "--data", str(self.data), "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )
        assert ran.returncode == 0, ran.stderr
        services = json.loads(ran.stdout)["services"]
        return {
            each["service"]: [one["file"] for one in each["applied"] if one["component"] == each["service"]]
            for each in services
        }


@pytest.fixture
def inn(tmp_path: Path) -> Iterator[Inn]:
    assert RELEASES, "no release is kept here"
    with zipfile.ZipFile(RELEASES[-1]) as wheel:
        wheel.extractall(tmp_path / "old")
    data = tmp_path / "data"
    data.mkdir()
    made = Inn(data, tmp_path / "old")
    yield made
    for process in list(made.running):
        made.end(process, signal.SIGKILL)


def test_old_and_new_code_work_side_by_side_on_one_database(inn: Inn) -> None:
    """Migrated while the old code works, then shared by both, each of which leads for a while and is killed; then the new one
    alone. Every event is handled once and in order in both services, every saga ends, by whichever code it was begun.
    """
    kitchen = inn.start("kitchen", "old")
    old = inn.start("desk", "old")
    where = "import skerry; print(skerry.__file__)"
    environ = {**os.environ, "PYTHONPATH": str(inn.wheel)}
    assert subprocess.run(
        [sys.executable, "-c", where], env=environ, capture_output=True, text=True, check=True
    ).stdout.startswith(str(inn.wheel))
    inn.book(old, times=6)

    # before the deploy: not one request fails meanwhile
    failures: list[BaseException] = []
    finished = threading.Event()

    def keep_booking() -> None:
        try:
            while not finished.is_set():
                old.book("attic")
                inn.booked += 1
        except BaseException as error:
            failures.append(error)

    guests = threading.Thread(target=keep_booking)
    guests.start()
    assert inn.migrate() == {"desk": ["0002_pre_note.sql"], "kitchen": []}
    finished.set()
    guests.join()
    assert not failures
    inn.settle()

    # the deploy: the old desk leads, the new one books beside it
    new = inn.start("desk", "new")
    inn.book(old, new, times=12)
    # the old desk dies, and comes back beside the new one, which leads now
    inn.end(old, signal.SIGKILL)
    inn.book(new, times=6)
    old = inn.start("desk", "old")
    inn.book(old, new, times=12)
    # and the other way round
    inn.end(new, signal.SIGKILL)
    inn.book(old, times=6)
    new = inn.start("desk", "new")
    inn.book(old, new, times=12)

    # after the deploy: the old code is gone, and so is what only it needed
    assert inn.end(old) == 0
    assert inn.migrate("--after") == {"desk": ["0003_post_memo.sql"], "kitchen": []}
    inn.book(new, times=6)
    assert inn.end(kitchen) == 0
    kitchen = inn.start("kitchen", "new")
    inn.book(new, times=6)
    for process in (new, kitchen):
        assert inn.end(process) == 0

    handled = inn.rows("desk", "SELECT DISTINCT recorded_by, handled_by FROM handled")
    assert sorted(handled) == [("new", "new"), ("new", "old"), ("old", "new"), ("old", "old")]
    driven = inn.rows("desk", "SELECT DISTINCT substr(key, 1, 3), driven_by FROM effects")
    assert sorted(driven) == sorted(handled)
    assert inn.count("desk", "effects WHERE step IN ('clean', 'greet')") == 2 * inn.booked
    assert inn.count("desk", "bookings WHERE note = 'quiet'") == inn.booked
    for service in ("desk", "kitchen"):
        assert inn.count(service, "skerry_parked") == 0
        for room in ROOMS:
            numbers = [
                row[0] for row in inn.rows(service, f"SELECT n FROM handled WHERE room = '{room}' ORDER BY rowid")
            ]
            assert numbers == list(range(1, len(numbers) + 1))
