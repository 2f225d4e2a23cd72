"""The crash matrix of documents on MongoDB: the process is killed before and after each write that the driver sends.

The points are not listed by hand: a run without faults finds them, and crashes bring further ones to light. The server speaks
MongoDB's protocol but is not MongoDB, see `servers.mongo`.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from servers.mongo import MongoServer

PROGRAM = Path(__file__).parent / "program.py"
STEPS = 12
THINGS = ("one", "two", "gone")
RUNS = 3
"""Processes at a time, each with a share of the points: it dies at one after the other."""
PATIENCE = 120.0


class Run:
    """One database and one folder; its process is started again when it is killed, until it ends by itself."""

    def __init__(self, server: MongoServer, folder: Path, name: str, points: list[str]) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.points = points
        self.died_at: list[str] = []
        self._command = [sys.executable, str(PROGRAM), server.url(name), str(self.folder), str(STEPS)]
        self._start()

    def _start(self) -> None:
        if len(self.died_at) < len(self.points):
            (self.folder / "armed").write_text(self.points[len(self.died_at)])
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)

    def ended(self) -> bool:
        code = self._process.poll()
        if code is None:
            return False
        assert self._process.stderr is not None
        error = self._process.stderr.read()
        self._process.stderr.close()
        assert code in {0, -signal.SIGKILL}, (self.points, error)
        if code:
            self.died_at.append((self.folder / "fired").read_text())
            self._start()
        return not code

    def reached(self) -> list[str]:
        """The points, in the order of their first time: a process that dies at one can still come to those behind it."""
        return list(dict.fromkeys((self.folder / "reached").read_text().splitlines()))

    def logged(self) -> list[dict]:
        found = []
        for segment in sorted((self.folder / "events" / "product").glob("*.db")):
            with closing(sqlite3.connect(segment)) as connection:
                found += [json.loads(row[0]) for row in connection.execute("SELECT body FROM log ORDER BY rowid")]
        return found

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()


def finish(runs: list[Run]) -> None:
    """Wait until all have ended by themselves; then what each has told has to be whole."""
    give_up = time.monotonic() + PATIENCE
    left = list(runs)
    try:
        while left := [run for run in left if not run.ended()]:
            assert time.monotonic() < give_up, [run.points for run in left]
            time.sleep(0.02)
    finally:
        for run in runs:
            run.close()
    for run in runs:
        told = run.logged()
        first = list(dict.fromkeys((each["partitionkey"], each["data"]["n"], each["sequence"]) for each in told))
        for thing in THINGS:
            mine = [(n, sequence) for key, n, sequence in first if key == thing]
            assert mine == [(n, str(n)) for n in range(1, STEPS + 1)], (run.died_at, thing, mine)
        assert len({each["id"] for each in told}) == len(first), run.died_at


@pytest.mark.timeout(600)
def test_death_at_any_write_loses_invents_and_reorders_nothing(tmp_path: Path) -> None:
    """Whatever write the process dies at: each change has its event, once and in order, and what was deleted is counted on."""
    with MongoServer(tmp_path / "mongo") as server:
        calm = Run(server, tmp_path, "calm", [])
        finish([calm])
        certain = calm.reached()
        assert {point.rpartition(":")[0] for point in certain} >= {
            "insert:things:carrying",
            "update:things:carrying",
            "update:things:empty",
            "update:things:deleted",
            "delete:things:",
            "update:skerry_leases:",
            "insert:skerry_owner:",
        }
        known, done = list(certain), set[str]()
        for number in range(10):
            left = [point for point in known if point not in done]
            shares = [left[start::RUNS] for start in range(min(RUNS, len(left)))]
            runs = [Run(server, tmp_path, f"crash{number}{start}", share) for start, share in enumerate(shares)]
            finish(runs)
            fired = {point for run in runs for point in run.died_at}
            known = list(dict.fromkeys([*known, *(point for run in runs for point in run.reached())]))
            done |= fired
            if not fired or done.issuperset(known):
                break
    assert done.issuperset(certain), set(certain) - done
