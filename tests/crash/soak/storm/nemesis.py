"""The nemesis: breaks something every 0.1 to 2 s, drawn from the seed, and in the end undoes what can be undone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from skerry.deploy import Supervisor

from .lines import Lines
from .system import FIRST_WRITES, RESTLESS, TABLES, kind_of

PAUSE = (0.1, 2.0)
STOPPED_FOR = (1.0, 10.0)
MOST_STOPPED = 3
"""Processes that are stopped at one time: with more, nothing would be left to go wrong."""
ARMED_FOR = 3.0
WEIGHTS = {"kill": 30, "kill two": 10, "stop": 20, "kill-at": 25, "stop-at": 12, "term": 6, "wall": 6}
OPENING = (
    ("con-y", "effects", "before"),
    (RESTLESS, "log", "after"),
    ("con-x-1", "effects", "before"),
    ("con-x-2", "skerry_positions", "before"),
)
"""With deaths at these commits, and that of every holder of a role, even the shortest run begins."""
BORN_DEAD = 5
"""Processes that die at a write of their very first start."""
WRONG_BY, SET_BACK = 86400.0, (60.0, 3600.0)
"""Seconds. The clock on the wall begins a day fast, is set back again and again, and is right in the end."""
AT_HOLDER = 0.35
"""Share of the kills and stops that go to the holder of an exclusive role."""


class Nemesis:
    """Breaks the processes of a supervisor. `holders` gives those that hold a role now."""

    def __init__(
        self, seed: int, supervisor: Supervisor, history: Lines, points: Path, holders: Callable[[], Iterable[str]]
    ) -> None:
        self._dice = random.Random(f"nemesis {seed}")
        self._supervisor = supervisor
        self._history = history
        self._points = points
        self._holders = holders
        self._pending: set[asyncio.Task[None]] = set()
        self._stopped: set[int] = set()
        self._wrong_by = 0.0
        self._names = list(supervisor.system.services)

    async def run(self) -> None:
        """Break things until cancelled."""
        for name, table, side in OPENING:
            await asyncio.sleep(self._dice.uniform(*PAUSE))
            self._arm("kill-at", name, table, side)
        for name in sorted(set(self._holders())):
            await asyncio.sleep(self._dice.uniform(*PAUSE))
            self._hit(name, signal.SIGKILL, "kill")
        while True:
            await asyncio.sleep(self._dice.uniform(*PAUSE))
            what = self._dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if what == "kill two":
                for name in self._dice.sample(self._names, 2):
                    self._hit(name, signal.SIGKILL, "kill two")
            elif what == "wall":
                self._set_wall(self._wrong_by - round(self._dice.uniform(*SET_BACK)))
                self._history.write("fault", name="wall", wrong_by=self._wrong_by)
            elif what in {"kill", "stop", "term"}:
                self._hit_one(what)
            else:
                name = self._dice.choice(self._names)
                table, side = self._dice.choice(TABLES[kind_of(name)]), self._dice.choice(["before", "after"])
                self._arm(what, name, table, side)

    async def heal(self) -> None:
        """Let everything run again: nothing is armed any more, nothing is stopped."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
        self._set_wall(0.0)
        for armed in self._points.glob("*.armed"):
            armed.unlink(missing_ok=True)
        for info in self._supervisor.ps():
            if info.pid is not None:
                self._signal(info.pid, signal.SIGCONT)

    def before_birth(self) -> None:
        """Set the clock wrong, and let some processes die at a write that only a first start has."""
        self._set_wall(WRONG_BY)
        for name in self._dice.sample(self._names, BORN_DEAD):
            table = self._dice.choice(FIRST_WRITES[: 3 if kind_of(name) == "publisher" else 2])
            (self._points / f"{name}.armed").write_text(f"kill {table} {self._dice.choice(['before', 'after'])}")

    def _set_wall(self, wrong_by: float) -> None:
        self._wrong_by = wrong_by
        part = self._points / "wall.new"
        part.write_text(str(wrong_by))
        part.rename(self._points / "wall")

    def _hit_one(self, what: str) -> None:
        holders = sorted(set(self._holders()))
        at_holder, index, seconds = (
            self._dice.random() < AT_HOLDER,
            self._dice.random(),
            self._dice.uniform(*STOPPED_FOR),
        )
        names = holders if at_holder and holders else self._names
        name = names[int(index * len(names))]
        if what == "kill":
            self._hit(name, signal.SIGKILL, "kill")
        elif what == "term":
            self._hit(name, signal.SIGTERM, "term")
        elif len(self._stopped) < MOST_STOPPED:
            pid = self._hit(name, signal.SIGSTOP, "stop", seconds=round(seconds, 1))
            if pid is not None:
                self._spawn(self._wake(pid, seconds))

    def _hit(self, name: str, number: signal.Signals, fault: str, **more: float) -> int | None:
        """Send a signal to a process, if there is one; its pid."""
        pid = next((info.pid for info in self._supervisor.ps() if info.name == name), None)
        if pid is None or not self._signal(pid, number):
            return None
        self._history.write("fault", name=fault, process=name, **more)
        return pid

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    async def _wake(self, pid: int, seconds: float) -> None:
        self._stopped.add(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._stopped.discard(pid)
            self._signal(pid, signal.SIGCONT)

    def _arm(self, what: str, name: str, table: str, side: str) -> None:
        """Let a process be hit at its next durable write of a kind. When it is, it writes that down itself."""
        seconds = self._dice.uniform(*STOPPED_FOR)
        if (self._points / f"{name}.armed").exists():
            return
        word = what.partition("-")[0]
        part = self._points / f"{name}.arming"
        part.write_text(f"{word} {table} {side}")
        part.rename(part.with_suffix(".armed"))
        self._spawn(self._disarm(name, seconds if word == "stop" else 0.0))

    async def _disarm(self, name: str, stopped_for: float) -> None:
        armed = self._points / f"{name}.armed"
        for _ in range(int(ARMED_FOR / 0.05)):
            await asyncio.sleep(0.05)
            if not armed.exists():
                break
        armed.unlink(missing_ok=True)
        fired = armed.with_suffix(".fired")
        if not fired.exists():
            return
        fired.unlink()
        pid = next((info.pid for info in self._supervisor.ps() if info.name == name), None)
        if stopped_for and pid is not None:
            await self._wake(pid, stopped_for)

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
