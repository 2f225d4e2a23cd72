"""The events soak: publishers, relays, consumers and servers are killed while events flow, and then the books are compared.

What was committed is read from the publishers' own database, what was handled from the consumers': neither side is believed.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from servers.process import Server
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from skerry.errors import SkerryError
from skerry.store import connect as connect_database

ACTOR = Path(__file__).with_name("actor.py")
JUDGE = Path(__file__).parents[4] / "shared" / "judges" / "history_check.py"
KEYS, WRITERS, GROUPS = 50, 16, ("billing", "shipping")
STALL = 240.0
"""Seconds without any progress after which a run has failed."""
EFFECTS = {
    "sqlite": "CREATE TABLE IF NOT EXISTS effects (id INTEGER PRIMARY KEY, counter TEXT, n INTEGER, at REAL)",
    "postgresql": "CREATE TABLE IF NOT EXISTS effects "
    "(id BIGINT GENERATED ALWAYS AS IDENTITY, counter TEXT, n BIGINT, at DOUBLE PRECISION)",
}
BROKERS: dict[str, Callable[[Path], Server]] = {"nats": NatsServer, "redis": RedisServer, "rabbitmq": RabbitServer}


@dataclass
class Result:
    seed: int
    database: str
    broker: str
    committed: int = 0
    handled: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    reordered: int = 0
    twice: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    stops: int = 0
    take_overs: int = 0
    redelivered: int = 0
    seconds: float = 0.0
    judge: str = "not here"
    missing: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        right = all(count == self.committed for count in self.handled.values())
        return right and not (self.lost or self.reordered or self.twice or self.missing) and self.judge != "INVALID"

    def text(self) -> str:
        lines = [f"{name:12} {value}" for name, value in asdict(self).items() if name != "missing"]
        lines += [f"did not happen: {each}" for each in self.missing]
        return "\n".join([*lines, "VALID" if self.ok else "INVALID"])


class Soak:
    """One run, its faults drawn from `seed`."""

    def __init__(
        self, *, events: int, kills: int, database: str, broker: str, seed: int, folder: Path, stop: float,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.events, self.kills, self.stop_for = events, kills, stop
        self.folder, self.tell, self.chance = folder, tell, random.Random(seed)
        self.result = Result(seed, database, broker)
        self.servers: dict[str, Server] = {}
        self.specs: dict[str, tuple[str, dict[str, Any]]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restart_at: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self.log = (folder / "actors.log").open("ab")

    def run(self) -> Result:
        begun = time.monotonic()
        try:
            self._set_up()
            asyncio.run(self._storm())
            self._end()
            self._judge()
        finally:
            for process in self.running.values():
                process.kill()
                process.wait()
            for server in self.servers.values():
                server.close()
            self.log.close()
        self.result.seconds = round(time.monotonic() - begun, 1)
        return self.result

    # --- before

    def _set_up(self) -> None:
        addresses = {name: f"sqlite:///{name}.db" for name in ("order", *GROUPS)}
        if self.result.database == "postgresql":
            server = PostgresServer(self.folder / "postgresql")
            self.servers["database"] = server.start()
            addresses = {name: server.own_database(name) for name in addresses}
        broker = "sqlite:///events/"
        if self.result.broker in BROKERS:
            self.servers["broker"] = BROKERS[self.result.broker](self.folder / self.result.broker).start()
            broker = self.servers["broker"].url("?durability=flushed" if self.result.broker != "rabbitmq" else "")  # type: ignore[attr-defined]
        asyncio.run(self._begin(addresses["order"]))
        publishers = 2 if self.result.database == "postgresql" else 1
        common = {"folder": str(self.folder), "broker": broker, "keys": KEYS, "effects": EFFECTS[self.result.database]}
        order = {**common, "owner": "order", "database": addresses["order"], "writers": WRITERS // publishers}
        for number in range(publishers):
            self.specs[f"publisher {number}"] = "publish", order
        for number in range(2):
            self.specs[f"relay {number}"] = "relay", order
            for group in GROUPS:
                settings = {**common, "owner": group, "database": addresses[group]}
                self.specs[f"{group} {number}"] = "consume", settings
        self.order, self.addresses = addresses["order"], addresses

    async def _begin(self, address: str) -> None:
        database = connect_database(address, owner="order", data=self.folder)
        await database.open()
        async with database.transaction() as tx:
            await tx.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")
            await tx.execute_many("INSERT INTO counters VALUES (?, 0)", [(f"k{n}",) for n in range(KEYS)])
        await database.close()

    # --- the storm

    async def _storm(self) -> None:
        plan = self._plan()
        at = [self.events * (place + 1) // (len(plan) + 1) for place in range(len(plan))]
        moved, seen = time.monotonic(), (0, 0)
        while True:
            self._tend()
            committed, handled = self._count("published.jsonl"), self._count("called.jsonl")
            if (committed, handled) != seen:
                moved, seen = time.monotonic(), (committed, handled)
            if time.monotonic() - moved > STALL:
                self.result.missing.append(f"no progress for {STALL:g} s at {committed} committed, {handled} handled")
                return
            if plan and committed >= at[-len(plan)]:
                self._strike(plan.pop(0))
            if not plan and committed >= self.events:
                (self.folder / "enough").touch()
                if await self._settled():
                    return
            time.sleep(0.05)

    def _plan(self) -> list[str]:
        kinds = ["publisher", "relay", "consumer", "relay after publish", "consumer before commit", *self.servers]
        plan = [kinds[place % len(kinds)] for place in range(self.kills)]
        self.chance.shuffle(plan)
        plan.insert(len(plan) // 2, "stop")
        return plan

    def _tend(self) -> None:
        """Start what is not there; what has died waits a moment."""
        now = time.monotonic()
        for name, (role, settings) in self.specs.items():
            process = self.running.get(name)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                del self.running[name]
                self.restart_at[name] = now + self.chance.uniform(0.05, 0.5)
            if now >= self.restart_at.get(name, 0.0):
                command = [sys.executable, str(ACTOR), role, json.dumps(settings)]
                self.running[name] = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def _strike(self, kind: str) -> None:
        self.tell(f"{self._count('published.jsonl')} committed; {kind}")
        if kind in self.servers:
            self.killed[kind] += 1
            self.servers[kind].kill()
            time.sleep(self.chance.uniform(0.0, 0.5))
            self.servers[kind].start()
        elif kind == "stop":
            self._stop_leader()
        elif kind == "relay after publish":
            self._at_the_point("die-relay", "relay")
        elif kind == "consumer before commit":
            self._at_the_point(f"die-{self.chance.choice(GROUPS)}", "consumer")
        else:
            names = [name for name in self.running if name.startswith(GROUPS if kind == "consumer" else kind)]
            leader = self._leader("relay") if kind == "relay" else None
            chosen = leader or self.chance.choice(sorted(names))
            self.running[chosen].kill()
            self.killed[kind] += 1

    def _at_the_point(self, flag: str, kind: str) -> None:
        """Have a process die at a point of its own code; it gets there soon, for events flow."""
        path = self.folder / flag
        path.touch()
        end = time.monotonic() + 30.0
        while path.exists() and time.monotonic() < end:
            self._tend()
            time.sleep(0.02)
        if path.exists():
            path.unlink(missing_ok=True)
            self.result.missing.append(f"{flag}: nobody came by")
        else:
            self.killed[kind] += 1

    def _leader(self, role: str) -> str | None:
        """The process that said last that it leads."""
        lines = self._lines("leads.jsonl")
        pids = {process.pid: name for name, process in self.running.items() if process.poll() is None}
        for line in reversed(lines):
            if line["role"].endswith(f"/{role}"):
                return pids.get(line["pid"])
        return None

    def _stop_leader(self) -> None:
        """SIGSTOP beyond any lease, then SIGCONT."""
        name = self._leader("relay") or next(name for name in self.running if name.startswith("relay"))
        process = self.running[name]
        process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + self.stop_for
        while time.monotonic() < end:
            self._tend()
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
        self.result.stops += 1

    async def _settled(self) -> bool:
        """Whether everything that was committed has had its effect in each group."""
        try:
            committed = sum((await self._committed()).values())
            return min([len(await self._effects(group)) for group in GROUPS]) >= committed
        except SkerryError:  # a server that is just coming up
            return False

    def _end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=30.0)
            except subprocess.TimeoutExpired:
                process.kill()

    # --- the books

    async def _rows(self, owner: str, sql: str) -> list[Any]:
        database = connect_database(self.addresses[owner], owner=owner, data=self.folder)
        await database.open()
        try:
            return await database.fetch_all(sql)
        finally:
            await database.close()

    async def _committed(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._rows("order", "SELECT name, n FROM counters")}

    async def _effects(self, group: str) -> list[Any]:
        return await self._rows(group, "SELECT counter, n, at FROM effects ORDER BY id")

    def _judge(self) -> None:
        result = self.result
        committed = asyncio.run(self._committed())
        result.committed = sum(committed.values())
        history = self._lines("published.jsonl")
        acknowledged = {line["event_id"] for line in history}
        for key, count in committed.items():
            for n in range(1, count + 1):
                unknown = {"t": 0.0, "kind": "publish_unknown", "event_id": f"{key}:{n}", "aggregate": key, "seq": n}
                history += [unknown] if unknown["event_id"] not in acknowledged else []
        for group in GROUPS:
            effects = asyncio.run(self._effects(group))
            seen: dict[str, list[int]] = {}
            for counter, n, at in effects:
                seen.setdefault(counter, []).append(n)
                same = {"consumer": group, "event_id": f"{counter}:{n}", "aggregate": counter, "seq": n, "t": at}
                history += [{"kind": "handled", **same}, {"kind": "effect", "key": f"{counter}:{n}", **same}]
            result.handled[group] = len(effects)
            for key, count in committed.items():
                numbers = seen.get(key, [])
                result.lost += len(set(range(1, count + 1)) - set(numbers))
                result.twice += len(numbers) - len(set(numbers))
                result.reordered += sum(after < before for before, after in pairwise(numbers))
        result.kills = dict(self.killed)
        relayed = Counter(line["id"] for line in self._lines("relayed.jsonl"))
        called = Counter((line["consumer"], line["id"]) for line in self._lines("called.jsonl"))
        result.redelivered = sum(count - 1 for count in (*relayed.values(), *called.values()))
        leads: dict[str, int] = {}
        for line in self._lines("leads.jsonl"):
            result.take_overs += leads.get(line["role"], line["pid"]) != line["pid"]
            leads[line["role"]] = line["pid"]
        result.missing += [what for what in ("redelivered", "take_overs", "stops") if not getattr(result, what)]
        if sum(self.killed.values()) < self.kills:
            result.missing.append(f"{self.kills} kills; there were {sum(self.killed.values())}")
        history.append({"t": time.monotonic(), "kind": "end"})
        path = self.folder / "history.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in history))
        if JUDGE.exists():
            with path.open() as lines:
                done = subprocess.run([sys.executable, JUDGE], stdin=lines, capture_output=True, text=True, check=False)
            result.judge = "VALID" if done.returncode == 0 else "INVALID"
            (self.folder / "judge.txt").write_text(done.stdout + done.stderr)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _count(self, name: str) -> int:
        """How many lines a file has by now, reading only what is new."""
        sizes: dict[str, list[int]] = self.__dict__.setdefault("_sizes", {})
        known = sizes.setdefault(name, [0, 0])
        path = self.folder / name
        if path.exists():
            with path.open("rb") as file:
                file.seek(known[0])
                while chunk := file.read(1 << 20):
                    known[1] += chunk.count(b"\n")
                    known[0] += len(chunk)
        return known[1]


def as_json(result: Result) -> str:
    return json.dumps({**asdict(result), "ok": result.ok}, indent=2)
