"""What a soak does to its processes and servers: kills them, has them die at points of their own code, stops them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers.process import Server

from .books import lines
from .crew import Crew

AT_A_POINT = 60.0
"""Seconds within which a process comes by the point at which it has to die."""


class Striking:
    """A soak builds on it. `faults` tells of what should have been done and could not be; `struck` is what was, for the history.

    Nothing here waits inside an event loop, so that Ctrl-C ends it at once.
    """

    def __init__(self, folder: Path, crew: Crew, faults: list[str], tell: Callable[[str], None]) -> None:
        self.folder, self.crew, self.faults, self.tell = folder, crew, faults, tell
        self.servers: dict[str, Server] = {}
        self.struck: list[dict[str, Any]] = []
        self.stop_began: float | None = None
        self._wake_at = 0.0
        self._servers_killed: Counter[str] = Counter()
        self._sizes: dict[str, tuple[int, int]] = {}
        self._told = 0.0

    @property
    def killed(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(self.crew.killed + self._servers_killed)

    def close(self) -> None:
        """No process and no server stays."""
        self.crew.close()
        for server in self.servers.values():
            server.close()

    def progress(self) -> str:
        """What is told from time to time."""
        raise NotImplementedError

    def woken(self) -> None:
        """The stopped process goes on from now on."""

    def note(self, name: str, at: float | None = None) -> None:
        """Something was done to somebody: the history has to say so."""
        self.struck.append({"t": time.monotonic() if at is None else at, "kind": "fault", "name": name})

    def turn(self) -> None:
        """What has to be done all the time."""
        self.crew.tend()
        now = time.monotonic()
        if self.stop_began is not None and now >= self._wake_at:
            self.woken()
            self.tell(f"{self.crew.stopped} goes on")
            self.crew.go_on()
            self.stop_began = None
        if now >= self._told + 5.0:
            self._told = now
            self.tell(self.progress())

    def wait(self, seconds: float) -> None:
        """Let time pass, and do what has to be done."""
        end = time.monotonic() + seconds
        self.turn()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(0.02, left))
            self.turn()

    def stop(self, name: str, seconds: float) -> None:
        """Stop a process for so long."""
        self.crew.stop(name)
        self.stop_began = time.monotonic()
        self._wake_at = self.stop_began + seconds

    def kill_server(self, name: str, away: float) -> None:
        """Kill a server, and start it again so many seconds later."""
        self.servers[name].kill()
        self._servers_killed[f"{name} server"] += 1
        self.wait(away)
        self.servers[name].start()

    def kill(self, what: str, choose: Callable[[], str | None]) -> str:
        """Kill the process that `choose` names, as soon as it names one; its name, or nothing when there was none."""
        limit = time.monotonic() + AT_A_POINT
        while time.monotonic() < limit:
            chosen = choose()
            if chosen is not None and self.crew.kill(chosen):
                return chosen
            self.wait(0.02)
        self.faults.append(f"there was no {what} to kill")
        return ""

    def kill_at_point(self, flag: str, role: str, within: float = AT_A_POINT) -> bool:
        """Have a process die at a point of its own code; it gets there soon, for there is work. Whether it did."""
        path = self.folder / flag
        self.crew.expect_death(role)
        path.touch()
        limit = time.monotonic() + within
        while self.crew.still_expected(role) and time.monotonic() < limit:
            self.wait(0.02)
        if not self.crew.still_expected(role):
            return True
        path.unlink(missing_ok=True)
        self.crew.expect_death(role, -1)
        self.faults.append(f"{flag}: nobody came by")
        return False

    def leader(self, role: str) -> str | None:
        """The process that said last that it leads, if it is there and not stopped."""
        led = [line for line in lines(self.folder / "leads.jsonl") if line["role"] == role]
        name = self.crew.name_of(led[-1]["pid"]) if led else None
        return None if name is None or name == self.crew.stopped else name

    def count(self, name: str) -> int:
        """How many lines a file has by now, reading only what is new."""
        known, count = self._sizes.get(name, (0, 0))
        path = self.folder / name
        if path.exists():
            with path.open("rb") as file:
                file.seek(known)
                while chunk := file.read(1 << 20):
                    count += chunk.count(b"\n")
                    known += len(chunk)
            self._sizes[name] = known, count
        return count
