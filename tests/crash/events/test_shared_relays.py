import asyncio
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2])]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.events import DomainEvent, Outbox  # noqa: E402
from skerry.store import connect  # noqa: E402

PROGRAM = Path(__file__).parent / "shared_relay_program.py"
PATIENCE = 30.0
KEYS = [f"order-{number}" for number in range(20)]
_numbers = itertools.count(1)


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str


class Actor:
    """A process with a relay. `parts` is what it said last that it leads."""

    def __init__(self, address, lines):
        command = [sys.executable, PROGRAM, address, str(lines)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.parts = ""
        self.said = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self):
        for line in self.process.stdout:
            state, _, self.parts = line.strip().partition(" ")
            self.said.append(state)

    def stop(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.wait(PATIENCE) == 0

    def close(self):
        self.process.kill()
        self.process.wait()
        self._listening.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Scene:
    """Processes of one service on one database, and the events that it records."""

    def __init__(self, address, folder):
        self.address, self.lines = address, folder / "lines.jsonl"
        self.actors, self.recorded = [], 0

    def start(self):
        self.actors.append(Actor(self.address, self.lines))
        return self.actors[-1]

    def record(self, count):
        """Commit so many events of each key."""

        async def main():
            database = connect(self.address, owner="order", data=self.lines.parent)
            await database.open()
            await Outbox.prepare(database)
            for _ in range(count):
                async with database.transaction() as tx:
                    await Outbox("order").record(tx, *(Placed(order=key) for key in KEYS))
            await database.close()

        asyncio.run(main())
        self.recorded += count

    def handed_over(self):
        """The numbers of each key in the order in which they were first handed over, and who did it."""
        found, by = {key: [] for key in KEYS}, {}
        for line in self.lines.read_text().splitlines() if self.lines.exists() else ():
            key, sequence, pid = json.loads(line)
            if int(sequence) not in found[key]:
                found[key].append(int(sequence))
            by.setdefault(pid, []).append(key)
        return found, by

    def until(self, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, ([(each.parts, each.said) for each in self.actors], self.handed_over())
            time.sleep(0.01)

    def all_there(self):
        """Every event was handed over, those of a key in their order."""
        wanted = {key: list(range(1, self.recorded + 1)) for key in KEYS}
        self.until(lambda: sum(map(len, self.handed_over()[0].values())) == len(KEYS) * self.recorded)
        assert self.handed_over()[0] == wanted

    def emptied(self):
        """Every event was taken out of the outbox, so that no process is in a transaction."""

        async def main():
            database = connect(self.address, owner="order", data=self.lines.parent)
            await database.open()
            async with asyncio.timeout(PATIENCE):
                while await Outbox("order").waiting(database):
                    await asyncio.sleep(0.01)
            await database.close()

        asyncio.run(main())

    def close(self):
        for actor in self.actors:
            actor.close()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(params=["postgresql", "sqlite"])
def scene(request, tmp_path):
    address = f"sqlite:///{tmp_path}/order.db"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres").own_database(f"order{next(_numbers)}")
    made = Scene(address, tmp_path)
    yield made
    made.close()


def two(scene):
    """Two processes that share the outbox, each with its half."""
    one = scene.start()
    scene.until(lambda: one.parts == "all")
    scene.record(5)
    other = scene.start()
    scene.until(lambda: (one.parts, other.parts) == ("0 2", "1 3"))
    return one, other


def test_two_processes_share_an_outbox(scene):
    """The second one gets half of the keys although the first goes on, and gives them back when it stops; nothing comes twice."""
    one, other = two(scene)
    scene.record(10)
    scene.all_there()
    _, by = scene.handed_over()
    assert sum(map(len, by.values())) == len(KEYS) * scene.recorded
    assert {one.process.pid, other.process.pid} == by.keys()
    other.stop()
    scene.until(lambda: one.parts == "all")
    scene.record(5)
    scene.all_there()
    assert sum(map(len, scene.handed_over()[1].values())) == len(KEYS) * scene.recorded


@pytest.mark.parametrize("first", [True, False], ids=["the first", "the second"])
def test_a_killed_process_is_followed_by_the_other(scene, first):
    """SIGKILL of either at work: the other leads its parts too, and all events are there in the order of their keys."""
    victim, heir = two(scene) if first else reversed(two(scene))
    scene.record(10)
    victim.process.kill()
    scene.record(10)
    scene.all_there()
    scene.until(lambda: heir.parts == "all")


@pytest.mark.parametrize("first", [True, False], ids=["the first", "the second"])
def test_a_stopped_process_stops_its_own_keys_at_most(scene, first):
    """SIGSTOP of either: the keys of the other go on. On PostgreSQL it gets all of them; woken, the first takes part again."""
    stopped, other = two(scene) if first else reversed(two(scene))
    scene.record(5)
    scene.all_there()
    theirs = set(scene.handed_over()[1][other.process.pid]) if first else set()
    scene.emptied()  # a file has one writer: stopped while it deletes, a process would hold up all of them
    stopped.process.send_signal(signal.SIGSTOP)
    before = scene.recorded
    scene.record(10)
    scene.until(lambda: any(len(numbers) == before + 10 for numbers in scene.handed_over()[0].values()))
    if theirs:
        scene.until(lambda: all(len(scene.handed_over()[0][key]) == before + 10 for key in theirs))
    if scene.address.startswith("postgresql"):
        scene.all_there()
        scene.until(lambda: other.parts == "all")
    stopped.process.send_signal(signal.SIGCONT)
    scene.record(5)
    scene.all_there()
    scene.until(lambda: {stopped.parts, other.parts} == {"0 2", "1 3"})
