"""The events soak: publishers, relays, consumers and servers are killed while events flow, and then the books are compared."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from servers.kafka import KafkaServer
from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from skerry.errors import SkerryError
from skerry.store import connect as connect_database

from .books import Effect, again, compare, history, lines, moves, verdicts
from .crew import Crew
from .plan import PROCESSES, STOP, Strike, draw_plan
from .striking import AT_A_POINT, Striking

ACTOR = Path(__file__).parents[1] / "actor.py"
KINDS = {"publish": "publisher", "relay": "relay", "consume": "consumer"}
KEYS, WRITERS, GROUPS = 50, 16, ("billing", "shipping")
STALL = 90.0
"""Seconds without a new commit or effect after which a run has failed."""
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


class Soak(Striking):
    """One run. `stop` is how many seconds the leading relay is stopped; more than a lease, or nothing is shown by it."""

    def __init__(
        self, *, events: int, kills: int, database: str, broker: str, seed: int, folder: Path, stop: float,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.events, self.kills, self.stop_for = events, kills, stop
        self.result = Result(seed, database, broker)
        super().__init__(folder, Crew(folder, seed, ACTOR, KINDS), self.result.faults, tell)

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
            self.close()
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

    # --- the storm

    def _storm(self, begun: float) -> None:
        plan = draw_plan(self.result.seed, events=self.events, kills=self.kills, servers=self._mortal())
        limit = begun + 300.0 + self.stop_for + self.events / 50
        moved, seen = begun, (0, 0)
        while (now := time.monotonic()) < min(limit, moved + STALL + self.stop_for):
            self.turn()
            committed, handled = self.count("published.jsonl"), self.count("called.jsonl")
            if (committed, handled) != seen:
                moved, seen = now, (committed, handled)
            if due := next((each for each in plan if each.at <= committed and self._can(each)), None):
                plan.remove(due)
                self._strike(due)
            elif not plan and committed >= self.events and self.stop_began is None:
                self._settle()
                break
            time.sleep(0.02)
        else:
            self.result.faults.append(f"the load ended after {now - begun:.0f} s, {seen} committed and handled, {plan}")
        taken = time.monotonic() - begun
        self.result.events_per_second = round(self.count("published.jsonl") / taken, 1)

    def progress(self) -> str:
        """What is told from time to time."""
        return f"{self.count('published.jsonl')} committed, {self.count('called.jsonl')} calls of handlers"

    def woken(self) -> None:
        """The stopped relay goes on: did another lead meanwhile?"""
        self.result.relays_leading_in_stop = self._led_since_the_stop()
        self.result.stops += 1

    def _led_since_the_stop(self) -> int:
        leads = [line["t"] for line in lines(self.folder / "leads.jsonl") if line["role"] == "order/relay"]
        return sum(t > (self.stop_began or 0.0) for t in leads)

    def _can(self, strike: Strike) -> bool:
        """A relay that is stopped keeps the lead on SQLite: there is no other to hit meanwhile.

        Elsewhere another one has to show that it takes over, which it cannot while a server is away.
        """
        if strike.kind in self.servers:
            return self.stop_began is None or self._led_since_the_stop() > 0
        if strike.kind.startswith("relay"):
            return self.stop_began is None or self.result.database != "sqlite"
        if strike.kind == STOP:
            return self.leader("order/relay") is not None
        return True

    def _strike(self, strike: Strike) -> None:
        group = GROUPS[int(strike.draw * len(GROUPS))]
        whom = ""
        if strike.kind in self.servers:
            self.kill_server(strike.kind, strike.draw * 0.5)
        elif strike.kind == STOP:
            whom = self.leader("order/relay") or ""
            self.stop(whom, self.stop_for)
        elif strike.kind == "relay after publish":
            self.kill_at_point("die-relay", "relay", AT_A_POINT + self.stop_for)
        elif strike.kind == "consumer before commit":
            self.kill_at_point(f"die-{group}", "consume", AT_A_POINT + self.stop_for)
        else:
            whom = self.kill(strike.kind, lambda: self._choose(strike, group))
        self.note(strike.kind)
        self.tell(f"{strike.at} of {self.count('published.jsonl')} committed: {strike.kind} {whom}")

    def _choose(self, strike: Strike, group: str) -> str | None:
        """Who leads, for the death of a standby shows nothing; publishers have no leader."""
        if strike.kind == "publisher":
            names = sorted(self.crew.alive("publish"))
            return names[int(strike.draw * len(names))] if names else None
        return self.leader("order/relay" if strike.kind == "relay" else f"{group}/events-{group}")

    def _settle(self) -> None:
        """No more writing; wait until everything that was committed has had its effect in each group."""
        (self.folder / "enough").touch()
        begun = moved = time.monotonic()
        best, committed = -1, 0
        while time.monotonic() < min(moved + STALL, begun + 300.0 + self.events / 50):
            self.wait(0.3)
            try:
                committed = sum(asyncio.run(self._committed()).values())
                counts = [int(asyncio.run(self._rows(group, "SELECT count(*) FROM effects"))[0][0]) for group in GROUPS]
            except SkerryError:  # a server that is just coming up
                continue
            if sum(counts) > best:
                best, moved = sum(counts), time.monotonic()
            if min(counts) >= committed:
                self.wait(0.5)  # for what must not come, and for a writer that just commits
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
        found = history(committed, told, handled, self.struck, begun=begun, ended=time.monotonic())
        result.verdicts = verdicts(self.folder / "history.jsonl", found)
        self._happened()
        self._left_over()

    def _happened(self) -> None:
        """Whether what was planned has happened."""
        result, crew = self.result, self.crew
        result.kills = self.killed
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
