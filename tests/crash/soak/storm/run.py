"""One run: start, load, break, heal, settle, export, judge."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from skerry.deploy import LogFiles, Supervisor

from .books import Books
from .clients import Clients
from .judge import judge
from .lines import Lines, read
from .nemesis import Nemesis
from .plan import requests
from .system import FOLDER, HOLDING, environment, system
from .watch import Watch, count_deliveries

SETTLE = 60.0
QUIET = 6.0
"""Seconds after the last call in which a late action may still arrive."""
FAULTS_PER_MINUTE, MOST_DEMANDED = 25.0, 50
OPERATIONS_PER_SECOND = 10.0
OFFICIAL = FOLDER.parents[3] / "shared" / "judges" / "history_check.py"

Tell = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What became of a run."""

    seed: int
    seconds: float
    faults: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    sagas: dict[str, int] = field(default_factory=dict)
    redeliveries: dict[str, int] = field(default_factory=dict)
    take_overs: dict[str, int] = field(default_factory=dict)
    recovered_sagas: int = 0
    late_actions: int = 0
    trouble: dict[str, int] = field(default_factory=dict)
    settled_in: float | None = None
    unsettled: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether all judges say so."""
        return all(word == "VALID" for word in self.verdicts.values())

    @property
    def code(self) -> int:
        """0 valid, 1 not valid, 2 too little happened for the run to count."""
        return 1 if not self.valid else 2 if self.missing else 0


class Storm:
    """One run in the folder `data`; `tell` gets progress for a person."""

    def __init__(self, seed: int, seconds: float, data: Path, tell: Tell) -> None:
        self.result = Result(seed, seconds)
        self.history_path = data / "history.jsonl"
        self._deliveries_path = data / "deliveries.jsonl"
        self._data = data
        self._tell = tell
        data.mkdir(parents=True, exist_ok=True)
        self._history = Lines(self.history_path)
        self._books = Books(data)
        self._watch = Watch(LogFiles(data / "logs"))
        environ = environment(data, self.history_path, self._deliveries_path)
        self._supervisor = Supervisor(system(), data=data, output=self._watch, environ=environ)
        points, holders = data / "points", self._watch.holders.values
        self._nemesis = Nemesis(seed, self._supervisor, self._history, points, holders)

    async def run(self) -> Result:
        """Run it all. Whatever happens, no process is left."""
        self._tell("starting")
        self._nemesis.before_birth()
        try:
            async with self._supervisor:
                self._books.balances(self._history, "start")
                await self._break()
                await self._settle()
                await asyncio.to_thread(self._books.export, self._history)
                self._history.write("end")
        finally:
            self._watch.close()
            self._history.close()
        self._tell("judging")
        self._judge()
        self._count()
        return self.result

    async def _break(self) -> None:
        """Load and nemesis together, then heal."""
        plan = requests(self.result.seed, self.result.seconds)
        clients = Clients(self._history, self._url)
        breaking = asyncio.create_task(self._nemesis.run())
        telling = asyncio.create_task(self._progress(clients, len(plan)))
        try:
            await clients.run(plan)
        finally:
            breaking.cancel()
            telling.cancel()
            await asyncio.wait({breaking, telling})
            await self._nemesis.heal()
            await clients.close()
        if not breaking.cancelled():
            breaking.result()

    async def _progress(self, clients: Clients, total: int) -> None:
        while True:
            taken = ", ".join(f"{count} {role}" for role, count in self._watch.take_overs.items())
            self._tell(f"{clients.done} of {total} calls answered; taken over: {taken or 'nothing yet'}")
            await asyncio.sleep(5.0)

    async def _settle(self) -> None:
        """Wait until all runs and nothing is under way; an operator frees what waits behind dead letters."""
        begin = time.monotonic()
        (self._data / "cured").touch()
        while time.monotonic() < begin + SETTLE:
            self.result.unsettled = await asyncio.to_thread(self._books.unsettled)
            if not all(info.ready for info in self._supervisor.ps()):
                self.result.unsettled["not ready"] = sum(not info.ready for info in self._supervisor.ps())
            if not self.result.unsettled and time.monotonic() > begin + QUIET:
                self.result.settled_in = round(time.monotonic() - begin, 1)
                return
            self._tell(f"settling: {self.result.unsettled or 'nothing is under way'}")
            await self._operate()
            await asyncio.sleep(1.0)

    async def _operate(self) -> None:
        async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as http:
            try:
                await http.post(self._url(HOLDING) + "/retry", json={})
            except httpx2.HTTPError as error:
                self._tell(f"the operator of {HOLDING} has to try again: {type(error).__name__}")

    def _url(self, process: str) -> str:
        return next(info.url for info in self._supervisor.ps() if info.name == process)

    def _judge(self) -> None:
        verdict = judge(read(self.history_path))
        self.result.verdicts["ours"] = verdict.word
        self.result.violations += [f"{each.rule} {each.detail}" for each in [*verdict.violations, *verdict.unknown]]
        if OFFICIAL.exists():
            command = [sys.executable, str(OFFICIAL), "--effects", "--no-overdraft"]
            with self.history_path.open() as history:
                done = subprocess.run(command, stdin=history, capture_output=True, text=True, check=False)
            *found, summary = done.stdout.splitlines() or [""]
            words = {0: "VALID", 1: "INVALID"}
            self.result.verdicts["independent"] = words.get(done.returncode, "UNKNOWN")
            self.result.violations += [
                f"independent: {line}" for line in found or ([] if done.returncode == 0 else [summary])
            ]

    def _count(self) -> None:
        result, lines = self.result, read(self.history_path)
        kinds = Counter(line["kind"] for line in lines)
        result.faults = dict(Counter(line["name"] for line in lines if line["kind"] == "fault"))
        result.events = {
            kind: kinds[kind] for kind in ("publish_ok", "publish_fail", "publish_unknown", "handled", "dead")
        }
        result.sagas = {"started": kinds["saga_started"], "start unknown": kinds["saga_start_unknown"]}
        result.sagas |= Counter(line["status"] for line in lines if line["kind"] == "saga_ended")
        again, consumers_taken = count_deliveries(read(self._deliveries_path))
        result.late_actions = again.pop("late", 0)
        result.redeliveries = dict(again)
        result.take_overs = {**self._watch.take_overs, "consumer": consumers_taken}
        result.recovered_sagas = self._watch.recovered
        result.trouble = dict(self._watch.trouble.most_common(12))
        demanded = min(MOST_DEMANDED, FAULTS_PER_MINUTE * result.seconds / 60)
        operations = kinds["publish_ok"] + kinds["saga_started"]
        result.missing = [
            what
            for what, enough in (
                ("faults", sum(result.faults.values()) >= demanded),
                ("operations", operations >= OPERATIONS_PER_SECOND * result.seconds),
                ("redeliveries", again["after a crash"] + again["duplicate"] > 0),
                ("take-overs", sum(result.take_overs.values()) > 0),
            )
            if not enough
        ]


def as_json(result: Result) -> str:
    """The result for a program."""
    names = [name for name in Result.__slots__ if name != "violations"]
    body: dict[str, Any] = {name: getattr(result, name) for name in names}
    return json.dumps({**body, "violations": result.violations[:50], "ok": result.code == 0}, indent=2)


def as_text(result: Result) -> str:
    """The result as a table for a person."""
    shown: list[tuple[str, Any]] = [
        ("seed", result.seed),
        ("seconds of load", result.seconds),
        ("faults", sum(result.faults.values())),
        *((f"  {name}", count) for name, count in sorted(result.faults.items())),
        *((f"events: {name}", count) for name, count in result.events.items()),
        *((f"sagas: {name}", count) for name, count in result.sagas.items()),
        ("sagas taken up at a start", result.recovered_sagas),
        ("late actions refused", result.late_actions),
        *((f"delivered again: {name}", count) for name, count in result.redeliveries.items()),
        *((f"taken over: {name}", count) for name, count in result.take_overs.items()),
        ("settled after (s)", result.settled_in if result.settled_in is not None else result.unsettled),
        *((f"verdict: {name}", word) for name, word in result.verdicts.items()),
    ]
    width = max(len(name) for name, _ in shown)
    lines = [f"{name:{width}}  {value}" for name, value in shown]
    lines += [f"error in a log, {count} times: {what}" for what, count in result.trouble.items()]
    lines += result.violations[:50]
    lines += [f"the run does not count: too few {what}" for what in result.missing]
    return "\n".join(lines)
