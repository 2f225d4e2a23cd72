"""The processes of a run: started, started again when they die, and all gone at the end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0


class Crew:
    """Its processes run `program ROLE SETTINGS`; `kinds` gives for each role the word for a process in it.

    `killed` counts, by that word, the deaths that were meant; `faults` names every other one.
    """

    def __init__(self, folder: Path, seed: int, program: Path, kinds: Mapping[str, str]) -> None:
        self._program = program
        self._kinds = kinds
        self.killed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.stopped: str | None = None
        self._specs: dict[str, tuple[str, dict[str, Any]]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._start_at: dict[str, float] = {}
        self._own_deaths: Counter[str] = Counter()
        self._expected: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._log = (folder / "actors.log").open("ab")

    def add(self, name: str, role: str, settings: dict[str, Any]) -> None:
        """One more process to keep running."""
        self._specs[name] = role, settings

    def tend(self) -> None:
        """Start who is not there. Who died of itself waits, each time twice as long."""
        now = time.monotonic()
        for name, (role, settings) in self._specs.items():
            if (process := self._running.get(name)) is not None:
                if process.poll() is None:
                    continue
                self._died(name, process.returncode)
            if now >= self._start_at.get(name, 0.0):
                command = [sys.executable, str(self._program), role, json.dumps({**settings, "name": name})]
                self._running[name] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
                )

    def _died(self, name: str, code: int) -> None:
        del self._running[name]
        role = self._specs[name][0]
        if code == -signal.SIGKILL and self._expected[role]:
            self._expected[role] -= 1
            self._meant(name)
            return
        self._own_deaths[name] += 1
        self.faults[f"{name} ended by itself with {code}"] += 1
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(10, self._own_deaths[name]))
        self._start_at[name] = time.monotonic() + wait

    def _meant(self, name: str) -> None:
        self.killed[self._kinds[self._specs[name][0]]] += 1
        self._start_at[name] = time.monotonic() + self._chance.uniform(0.05, 0.5)

    def alive(self, role: str, owner: str = "") -> list[str]:
        """Who of a role runs now, not stopped."""
        return [
            name
            for name, process in self._running.items()
            if self._specs[name][0] == role
            and owner in ("", self._specs[name][1]["owner"])
            and name != self.stopped
            and process.poll() is None
        ]

    def name_of(self, pid: int) -> str | None:
        """Who has this process id now."""
        return next((name for name, process in self._running.items() if process.pid == pid), None)

    def kill(self, name: str) -> bool:
        """SIGKILL; False when it was dead already."""
        process = self._running[name]
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        del self._running[name]
        self._meant(name)
        return True

    def expect_death(self, role: str, by: int = 1) -> None:
        """Somebody of this role is about to kill itself, as it was told; or, with -1, is not any more."""
        self._expected[role] += by

    def still_expected(self, role: str) -> bool:
        """Whether it has not happened yet."""
        return self._expected[role] > 0

    def stop(self, name: str) -> None:
        """SIGSTOP."""
        self._running[name].send_signal(signal.SIGSTOP)
        self.stopped = name

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.stopped is not None
        self._running[self.stopped].send_signal(signal.SIGCONT)
        self.stopped = None

    def end(self) -> None:
        """Ask everybody to end; who does not, or not well, is a fault."""
        for process in self._running.values():
            process.terminate()
        limit = time.monotonic() + 30.0
        for name, process in self._running.items():
            try:
                code = process.wait(timeout=max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.faults[f"{name} did not end when asked"] += 1
            else:
                if code:
                    self.faults[f"{name} ended with {code} when asked"] += 1

    def close(self) -> None:
        """No process stays, stopped ones neither."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._log.close()


def working_in(folder: Path) -> list[str]:
    """The processes that have the folder in their command line."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if process.name.isdigit() and str(folder) in words:
            found.append(words)
    return found
