"""The events soak: publishers, relays, consumers and servers are killed while events flow, and then the books are compared."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from servers.kafka import KafkaServer
from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from servers.process import Server
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from skerry.errors import SkerryError
from skerry.store import connect as connect_database

from .books import Effect, again, compare, history, lines, moves, verdicts
from .crew import Crew
from .plan import PROCESSES, STOP, Strike, draw_plan

KEYS, WRITERS, GROUPS = 50, 16, ("billing", "shipping")
STALL = 90.0
"""Seconds without a new commit or effect after which a run has failed."""
AT_A_POINT = 60.0
"""Seconds within which a process comes by the point at which it has to die."""
EFFECTS = {
    "sqlite": "CREATE TABLE IF NOT EXISTS effects (id INTEGER PRIMARY KEY, counter TEXT, n INTEGER, at REAL)",
    "postgresql": "CREATE TABLE IF NOT EXISTS effects "
    "(id BIGINT GENERATED ALWAYS AS IDENTITY, counter TEXT, n BIGINT, at DOUBLE PRECISION)",
}
BROKERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nats": (NatsServer, "?durability=flushed"),
    "redis": (RedisServer, "?durability=flushed"),
    "rabbitmq": (RabbitServer, ""),
    "kafka": (KafkaServer, ""),
}
KEPT_IN_MEMORY = ("kafka",)


@dataclass
class Result:
    """What became of a run. It is `ok` when the books agree and everything that was planned has happened."""

    seed: int
    database: str
    broker: str
    committed: int = 0
    handled: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    reordered: int = 0
    twice: int = 0
    invented: int = 0
    forgotten: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    stops: int = 0
    relays_leading_in_stop: int = 0
    take_overs: dict[str, int] = field(default_factory=dict)
    redelivered: dict[str, int] = field(default_factory=dict)
    settled_in: float | None = None
    seconds: float = 0.0
    events_per_second: float = 0.0
    verdicts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        books = self.lost or self.reordered or self.twice or self.invented or self.forgotten
        whole = self.committed > 0 and all(count == self.committed for count in self.handled.values())
        judged = self.verdicts.get("ours") == "VALID" and self.verdicts.get("history_check") in ("VALID", "not here")
        return whole and judged and not books and not self.faults

    def text(self) -> str:
        """A table, and what went wrong."""
        found = []
        for name, value in asdict(self).items():
            if not isinstance(value, list):
                counts = value.items() if isinstance(value, dict) else ()
                shown = ", ".join(f"{what} {count}" for what, count in sorted(counts)) or value
                found.append(f"{name.replace('_', ' '):24} {shown}")
        found += [f"note: {each}" for each in self.notes] + [f"FAULT: {each}" for each in self.faults]
        return "\n".join([*found, "VALID" if self.ok else "INVALID"])

    def json(self) -> str:
        """The same for programs."""
        return json.dumps({**asdict(self), "ok": self.ok}, indent=2)


class Soak:
    """One run. `stop` is how many seconds the leading relay is stopped; more than a lease, or nothing is shown by it."""

    def __init__(
        self, *, events: int, kills: int, database: str, broker: str, seed: int, folder: Path, stop: float,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.events, self.kills, self.stop_for = events, kills, stop
        self.folder, self.tell = folder, tell
        self.result = Result(seed, database, broker)
        self.servers: dict[str, Server] = {}
        self.crew = Crew(folder, seed)
        self._killed: Counter[str] = Counter()
        self._struck: list[dict[str, Any]] = []
        self._sizes: dict[str, tuple[int, int]] = {}
        self._stop_began: float | None = None
        self._told = 0.0

    def run(self) -> Result:
        """All of it; however it ends, no process stays."""
        begun = time.monotonic()
        try:
            self._set_up()
            flowing = time.monotonic()
            self._storm(flowing)
            self.crew.end()
            self._judge(flowing)
        finally:
            self.crew.close()
            for server in self.servers.values():
                server.close()
        self.result.seconds = round(time.monotonic() - begun, 1)
        return self.result

    # --- before

    def _set_up(self) -> None:
        if any(self.folder.glob("*.jsonl")):
            raise FileExistsError(f"{self.folder} holds an earlier run")
        addresses = {name: f"sqlite:///{name}.db" for name in ("order", *GROUPS)}
        if self.result.database == "postgresql":
            server = self.servers["database"] = PostgresServer(self.folder / "postgresql")
            server.start()
            addresses = {name: server.own_database(name) for name in addresses}
        broker = "sqlite:///events/"
        if self.result.broker in BROKERS:
            make, options = BROKERS[self.result.broker]
            self.servers["broker"] = started = make(self.folder / self.result.broker)
            started.start()
            broker = started.url(options)
        self.addresses = addresses
        asyncio.run(self._begin())
        publishers = 2 if self.result.database == "postgresql" else 1
        common = {"folder": str(self.folder), "broker": broker, "keys": KEYS, "effects": EFFECTS[self.result.database]}
        order = {**common, "owner": "order", "database": addresses["order"], "writers": WRITERS // publishers}
        for number in range(publishers):
            self.crew.add(f"publisher {number}", "publish", order)
        for number in range(2):
            self.crew.add(f"relay {number}", "relay", order)
            for group in GROUPS:
                self.crew.add(f"{group} {number}", "consume", {**common, "owner": group, "database": addresses[group]})

    async def _begin(self) -> None:
        database = connect_database(self.addresses["order"], owner="order", data=self.folder)
        await database.open()
        async with database.transaction() as tx:
            await tx.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")
            await tx.execute_many("INSERT INTO counters VALUES (?, 0)", [(f"k{n}",) for n in range(KEYS)])
        await database.close()

    def _mortal(self) -> list[str]:
        """The servers that may be killed."""
        if self.result.broker in KEPT_IN_MEMORY:
            self.result.notes.append("the broker (Tansu) keeps all in memory, so it is not killed")
        if not self.servers:
            self.result.notes.append("there is no server to kill: database and event log are files")
        return [name for name in self.servers if name != "broker" or self.result.broker not in KEPT_IN_MEMORY]

    # --- the storm; nothing here waits inside an event loop, so that Ctrl-C ends it at once

    def _storm(self, begun: float) -> None:
        plan = draw_plan(self.result.seed, events=self.events, kills=self.kills, servers=self._mortal())
        limit = begun + 300.0 + self.stop_for + self.events / 50
        moved, seen = begun, (0, 0)
        while (now := time.monotonic()) < min(limit, moved + STALL + self.stop_for):
            self._turn()
            committed, handled = self._count("published.jsonl"), self._count("called.jsonl")
            if (committed, handled) != seen:
                moved, seen = now, (committed, handled)
            if due := next((each for each in plan if each.at <= committed and self._can(each)), None):
                plan.remove(due)
                self._strike(due)
            elif not plan and committed >= self.events and self._stop_began is None:
                self._settle()
                break
            time.sleep(0.02)
        else:
            self.result.faults.append(f"the load ended after {now - begun:.0f} s, {seen} committed and handled, {plan}")
        taken = time.monotonic() - begun
        self.result.events_per_second = round(self._count("published.jsonl") / taken, 1)

    def _turn(self) -> None:
        """What has to be done all the time."""
        self.crew.tend()
        now = time.monotonic()
        if self._stop_began is not None and now >= self._stop_began + self.stop_for:
            leads = [line for line in lines(self.folder / "leads.jsonl") if line["role"] == "order/relay"]
            self.result.relays_leading_in_stop = sum(self._stop_began < line["t"] < now for line in leads)
            self.tell("the stopped relay goes on")
            self.crew.go_on()
            self._stop_began = None
            self.result.stops += 1
        if now >= self._told + 5.0:
            self._told = now
            self.tell(f"{self._count('published.jsonl')} committed, {self._count('called.jsonl')} calls of handlers")

    def _can(self, strike: Strike) -> bool:
        """A relay that is stopped keeps the lead on SQLite: there is no other to hit meanwhile."""
        if strike.kind.startswith("relay"):
            return self._stop_began is None or self.result.database != "sqlite"
        if strike.kind == STOP:
            return self._leader("order/relay") is not None
        return True

    def _strike(self, strike: Strike) -> None:
        group = GROUPS[int(strike.draw * len(GROUPS))]
        whom = ""
        if strike.kind in self.servers:
            self.servers[strike.kind].kill()
            self._killed[f"{strike.kind} server"] += 1
            self._wait(strike.draw * 0.5)
            self.servers[strike.kind].start()
        elif strike.kind == STOP:
            whom = self._leader("order/relay") or ""
            self.crew.stop(whom)
            self._stop_began = time.monotonic()
        elif strike.kind == "relay after publish":
            self._at_the_point("die-relay", "relay")
        elif strike.kind == "consumer before commit":
            self._at_the_point(f"die-{group}", "consume")
        else:
            whom = self._kill(strike, group)
        self._struck.append({"t": time.monotonic(), "kind": "fault", "name": strike.kind})
        self.tell(f"{strike.at} of {self._count('published.jsonl')} committed: {strike.kind} {whom}")

    def _kill(self, strike: Strike, group: str) -> str:
        """Who leads, for the death of a standby shows nothing; publishers have no leader."""
        owner = group if strike.kind == "consumer" else ""
        role = {"publisher": "publish", "relay": "relay", "consumer": "consume"}[strike.kind]
        limit = time.monotonic() + AT_A_POINT
        while time.monotonic() < limit:
            names = sorted(self.crew.alive(role, owner))
            if strike.kind == "publisher":
                chosen = names[int(strike.draw * len(names))] if names else None
            else:
                chosen = self._leader("order/relay" if role == "relay" else f"{group}/events-{group}")
            if chosen in names and chosen is not None and self.crew.kill(chosen):
                return chosen
            self._wait(0.02)
        self.result.faults.append(f"there was no {strike.kind} to kill")
        return ""

    def _at_the_point(self, flag: str, role: str) -> None:
        """Have a process die at a point of its own code; it gets there soon, for events flow."""
        path = self.folder / flag
        self.crew.expect_death(role)
        path.touch()
        limit = time.monotonic() + AT_A_POINT + self.stop_for
        while self.crew.still_expected(role) and time.monotonic() < limit:
            self._wait(0.02)
        if self.crew.still_expected(role):
            path.unlink(missing_ok=True)
            self.crew.expect_death(role, -1)
            self.result.faults.append(f"{flag}: nobody came by")

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._turn()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(0.02, left))
            self._turn()

    def _leader(self, role: str) -> str | None:
        """The process that said last that it leads, if it is still there."""
        led = [line for line in lines(self.folder / "leads.jsonl") if line["role"] == role]
        name = self.crew.name_of(led[-1]["pid"]) if led else None
        return None if name == self.crew.stopped else name

    def _settle(self) -> None:
        """No more writing; wait until everything that was committed has had its effect in each group."""
        (self.folder / "enough").touch()
        begun = moved = time.monotonic()
        best, committed = -1, 0
        while time.monotonic() < min(moved + STALL, begun + 300.0 + self.events / 50):
            self._wait(0.3)
            try:
                committed = sum(asyncio.run(self._committed()).values())
                counts = [int(asyncio.run(self._rows(group, "SELECT count(*) FROM effects"))[0][0]) for group in GROUPS]
            except SkerryError:  # a server that is just coming up
                continue
            if sum(counts) > best:
                best, moved = sum(counts), time.monotonic()
            if min(counts) >= committed:
                self._wait(0.5)  # for what must not come, and for a writer that just commits
                if sum(asyncio.run(self._committed()).values()) == committed:
                    self.result.settled_in = round(time.monotonic() - begun, 1)
                    return
        self.result.faults.append(f"not settled: {best} effects of {len(GROUPS)} x {committed} events")

    # --- the books

    async def _rows(self, owner: str, sql: str) -> list[Any]:
        database = connect_database(self.addresses[owner], owner=owner, data=self.folder)
        await database.open()
        try:
            return await database.fetch_all(sql)
        finally:
            await database.close()

    async def _committed(self) -> dict[str, int]:
        return {row[0]: int(row[1]) for row in await self._rows("order", "SELECT name, n FROM counters")}

    async def _effects(self, group: str) -> list[Effect]:
        rows = await self._rows(group, "SELECT counter, n, at FROM effects ORDER BY id")
        return [(row[0], int(row[1]), float(row[2])) for row in rows]

    def _judge(self, begun: float) -> None:
        result = self.result
        committed = asyncio.run(self._committed())
        handled = {group: asyncio.run(self._effects(group)) for group in GROUPS}
        told = {(line["counter"], line["n"]): line["t"] for line in lines(self.folder / "published.jsonl")}
        result.committed = sum(committed.values())
        result.handled = {group: len(effects) for group, effects in handled.items()}
        for name, count in asdict(compare(committed, told, handled)).items():
            setattr(result, name, count)
        found = history(committed, told, handled, self._struck, begun=begun, ended=time.monotonic())
        result.verdicts = verdicts(self.folder / "history.jsonl", found)
        self._happened()
        self._left_over()

    def _happened(self) -> None:
        """Whether what was planned has happened."""
        result, crew = self.result, self.crew
        result.kills = dict(crew.killed + self._killed)
        result.take_overs = moves(lines(self.folder / "leads.jsonl"))
        result.redelivered = redelivered = {
            "offered to the broker again": again(
                each for line in lines(self.folder / "relayed.jsonl") for each in line["ids"]
            ),
            "delivered again": again(
                (line["consumer"], each) for line in lines(self.folder / "wire.jsonl") for each in line["ids"]
            ),
            "handler called again": again(
                (line["consumer"], line["id"]) for line in lines(self.folder / "called.jsonl")
            ),
        }
        wanted = {
            f"{self.kills} kills": sum(result.kills.values()) == self.kills,
            "kills of " + ", ".join(PROCESSES): self.kills < 7 or all(result.kills.get(each) for each in PROCESSES),
            "a stop": result.stops == 1,
            "a take-over between relays": result.take_overs.get("order/relay", 0) > 0,
            "a take-over between consumers": any(result.take_overs.get(f"{each}/events-{each}") for each in GROUPS),
            "a redelivery": any(redelivered[how] for how in ("offered to the broker again", "delivered again")),
        }
        if result.database == "postgresql":
            wanted["another relay leading while the first was stopped"] = result.relays_leading_in_stop > 0
        result.faults += [f"did not happen: {what}" for what, happened in wanted.items() if not happened]
        result.faults += [f"{what}, {count} times" for what, count in crew.faults.items()]

    def _left_over(self) -> None:
        """Neither an event in the outbox nor a parked one."""
        for owner, table in [("order", "skerry_outbox"), *((group, "skerry_parked") for group in GROUPS)]:
            count = asyncio.run(self._rows(owner, f"SELECT count(*) FROM {table}"))[0][0]
            if count:
                self.result.faults.append(f"{count} left in {table} of {owner}")

    def _count(self, name: str) -> int:
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
