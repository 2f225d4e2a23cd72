import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "relay_program.py"
PATIENCE = 20.0


class Scene:
    """Two relays on one outbox, and a log to look into."""

    def __init__(self, folder):
        self.folder = folder
        self.relays = []
        self.recorded = 0

    def start(self):
        command = [sys.executable, PROGRAM, str(self.folder)]
        self.relays.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return self.relays[-1]

    def record(self, count):
        """Commit so many events, as a service would."""
        with closing(sqlite3.connect(self.folder / "order.db", timeout=10.0)) as connection:
            for _ in range(count):
                self.recorded += 1
                row = (f"event-{self.recorded}", "shop.x", "key", "{}")
                connection.execute("INSERT INTO skerry_outbox (event_id, type, key, body) VALUES (?, ?, ?, ?)", row)
            connection.commit()

    def stop(self, relay):
        """Stop it, for good and not only soon, at a moment at which it does not keep others from recording."""
        while True:
            relay.send_signal(signal.SIGSTOP)
            os.waitpid(relay.pid, os.WUNTRACED)
            with closing(sqlite3.connect(self.folder / "order.db", timeout=0.0)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    relay.send_signal(signal.SIGCONT)
                else:
                    return

    def relayed(self):
        """The ids in the log, in order."""
        segments = sorted((self.folder / "events" / "order").glob("*.db"))
        found = []
        for segment in segments:
            with closing(sqlite3.connect(f"file:{segment}?mode=ro", uri=True)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchone():
                    found += [row[0] for row in connection.execute("SELECT id FROM log ORDER BY position")]
        return found

    def all_there(self):
        """Wait until every event has been relayed, once and in order."""
        end = time.monotonic() + PATIENCE
        wanted = [f"event-{number + 1}" for number in range(self.recorded)]
        while self.relayed() != wanted:
            assert time.monotonic() < end, (len(self.relayed()), self.recorded)
            time.sleep(0.02)

    def close(self):
        for relay in self.relays:
            relay.kill()
            relay.wait()
            relay.stdout.close()


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    made.close()


def until(relay, state):
    """Read until the relay says that it is in this state."""
    assert next(line for line in relay.stdout if line.strip() == state)


def test_a_stopped_relay_keeps_the_lead_and_goes_on_where_it_stood(scene):
    """SIGSTOP of the leader: nobody else writes the log meanwhile; woken, it relays everything once and in order."""
    leader = scene.start()
    until(leader, "leading")
    other = scene.start()
    until(other, "waiting")
    scene.record(200)
    scene.all_there()
    for _ in range(5):
        scene.record(300)
        scene.stop(leader)
        scene_then = scene.relayed()
        scene.record(300)
        time.sleep(1.0)  # four times as long as the other one waits between two tries to lead
        assert scene.relayed() == scene_then
        leader.send_signal(signal.SIGCONT)
        scene.all_there()
    assert other.poll() is None


def test_a_killed_relay_is_followed_by_the_next(scene):
    """SIGKILL of the leader at work: the other one leads, and all events are there once and in order."""
    leader = scene.start()
    until(leader, "leading")
    for _ in range(4):
        heir = scene.start()
        until(heir, "waiting")
        scene.record(500)
        leader.kill()
        until(heir, "leading")
        scene.record(100)
        scene.all_there()
        leader = heir
