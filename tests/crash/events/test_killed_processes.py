import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "program.py"
PUBLISHERS = ("order", "payment", "stock")
CONSUMERS = ("billing", "report")
KEYS = 4
EACH = 60
KILLS = 20
PATIENCE = 60.0


class Crew:
    """Processes that are started again when they are killed, until each has ended by itself."""

    def __init__(self, folder):
        self._folder = folder
        self._processes = {}
        self.killed = 0
        self.died = 0

    def start(self, *arguments):
        words = [str(word) for word in (arguments[0], arguments[1], self._folder, arguments[2])]
        self._processes[arguments] = subprocess.Popen([sys.executable, PROGRAM, *words], stderr=subprocess.PIPE)

    def running(self):
        """The processes that have not ended by themselves; killed ones begin again."""
        for arguments, process in list(self._processes.items()):
            code = process.poll()
            if code is None:
                continue
            error = process.stderr.read().decode()
            process.stderr.close()
            del self._processes[arguments]
            assert code in (0, -signal.SIGKILL), error
            assert "Traceback" not in error, error
            if code:
                self.died += 1
                self.start(*arguments)
        return list(self._processes.values())

    def kill(self, process):
        process.kill()
        process.wait()
        self.killed += 1

    def finish(self, role=""):
        """Wait until all, or all in this role, have ended by themselves."""
        end = time.monotonic() + PATIENCE
        while self.running() and any(arguments[0].startswith(role) for arguments in self._processes):
            assert time.monotonic() < end, f"still running: {list(self._processes)}"
            time.sleep(0.02)

    def enough(self):
        """Let the publishers end; tell the consumers how many events there are."""
        (self._folder / "enough").touch()
        self.finish("publish")
        total = sum(sum(published(self._folder, name).values()) for name in PUBLISHERS)
        (self._folder / "total.new").write_text(str(total))
        (self._folder / "total.new").rename(self._folder / "total")

    def close(self):
        for process in self._processes.values():
            process.kill()
            process.wait()
            process.stderr.close()


@pytest.fixture
def crew(tmp_path):
    made = Crew(tmp_path)
    yield made
    made.close()


def effects(folder, name):
    """What a consumer did: the numbers of each counter in the order of their effects."""
    found = defaultdict(list)
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        for counter, n in connection.execute("SELECT counter, n FROM effects ORDER BY rowid"):
            found[counter].append(n)
    return found


def rows(folder, name, sql):
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        return connection.execute(sql).fetchall()


def published(folder, name):
    """How many events a publisher has recorded for each counter."""
    return dict(rows(folder, name, "SELECT counter, n FROM counters"))


def test_kill_9_at_random_moments_loses_repeats_and_reorders_nothing(tmp_path, crew):
    """Publishers, relays and consumers killed over and over: every event has its effect once, in the order of its key."""
    chance = random.Random(11)
    for name in PUBLISHERS:
        crew.start("publish", name, EACH)
    for name in CONSUMERS:
        crew.start("consume", name, 0)
    while crew.killed < KILLS:
        running = crew.running()
        time.sleep(chance.uniform(0.05, 0.45))
        crew.kill(chance.choice(running))
    crew.enough()
    crew.finish()
    assert crew.died == KILLS
    counts = {counter: n for name in PUBLISHERS for counter, n in published(tmp_path, name).items()}
    assert len(counts) == KEYS * len(PUBLISHERS)
    assert min(counts.values()) >= EACH
    wanted = {counter: list(range(1, n + 1)) for counter, n in counts.items()}
    for name in CONSUMERS:
        assert effects(tmp_path, name) == wanted
        assert rows(tmp_path, name, "SELECT * FROM skerry_parked") == []
    assert len(list((tmp_path / "events" / "order").glob("*.db"))) > 1


def test_an_event_that_kills_its_process_ends_as_a_dead_letter(tmp_path, crew):
    """A handler that kills its own process with SIGKILL stops nobody for long: its event is dead, all others are handled."""
    (tmp_path / "enough").touch()
    (tmp_path / "total").write_text(str(10 * KEYS - 9))
    crew.start("publish", "order", 10)
    crew.start("die", "billing", 0)
    crew.finish()
    assert crew.died == 5
    found = effects(tmp_path, "billing")
    assert found == {f"order-{key}": [1] if key == 1 else list(range(1, 11)) for key in range(KEYS)}
    parked = rows(tmp_path, "billing", "SELECT state, reason FROM skerry_parked WHERE key = 'order-1' ORDER BY id")
    assert [state for state, _ in parked] == ["dead"] + ["held"] * 8
    assert "died 5 times" in parked[0][1]


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path):
    """While the disk is full writes fail loudly and whole; when there is room again the same process goes on."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "fill", "order", tmp_path, "200"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    recorded, written, waiting, published, logged, failures = map(int, done.stdout.split())
    assert recorded == written == waiting
    assert published == logged
    assert 100 <= recorded < 200
    assert failures > 50
