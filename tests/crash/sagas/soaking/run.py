"""The sagas soak: engines, participants, starter and server are killed while sagas run, and then the books are compared."""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from storming.books import lines, verdicts
from storming.crew import Crew
from storming.plan import Strike
from storming.striking import AT_A_POINT, Striking

from servers.postgresql import PostgresServer
from skerry.errors import SkerryError
from skerry.store import connect as connect_database
from skerry.store.leases import LEASE

from .books import Effect, Found, again, compare, history, opened, take_overs
from .plan import (
    BANKS,
    ENGINE_POINT,
    LATER,
    PARTICIPANT_POINTS,
    PARTICIPANTS,
    PROCESSES,
    STOP_ENGINE,
    STOP_PARTICIPANT,
    draw_orders,
    draw_plan,
    stops,
)

ACTOR = Path(__file__).parents[1] / "actor.py"
KINDS = {"drive": "engine", "take-part": "participant", "start": "starter"}
OWNER, ENGINES = "transfers", 2
ROLE = f"{OWNER}/saga"
PORTS = range(20_000, 32_000)
"""Below those that the system gives to connections going out: one of these may have to be had again after a kill."""
NOTED = 0.05
"""Seconds within which a loss is itself noted as a strike."""
START, STALL = 60.0, 120.0
"""Seconds until the participants are there, and without any progress after which a run has failed."""


@dataclass
class Result:
    """What became of a run. It is `ok` when the books agree and everything that was planned has happened."""

    seed: int
    database: str
    sagas: int
    outcomes: dict[str, int] = field(default_factory=dict)
    not_ended: int = 0
    stuck: int = 0
    doubled: int = 0
    incomplete: int = 0
    left_over: int = 0
    invented: int = 0
    other_ids: int = 0
    cents_off: int = 0
    money_at_start: int = 0
    money_at_end: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)
    tried_again: dict[str, int] = field(default_factory=dict)
    lease: float | None = None
    led_while_one_stopped: int = 0
    woken_and_fenced_off: int = 0
    """Engines that gave up leading with `LeaseLost` once they went on; whether a write of theirs was refused is not seen here."""
    woken_and_struck_again: int = 0
    """Those that could not show it: they, or the database below them, were killed before."""
    taken_over: dict[str, int] = field(default_factory=dict)
    seconds_after_kill: dict[str, float] = field(default_factory=dict)
    seconds_after_stop: dict[str, float] = field(default_factory=dict)
    settled_in: float | None = None
    seconds: float = 0.0
    sagas_per_second: float = 0.0
    verdicts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        counted = (self.not_ended, self.stuck, self.doubled, self.incomplete, self.left_over, self.invented)
        books = not any(counted) and not self.other_ids and not self.cents_off
        judged = self.verdicts.get("ours") == "VALID" and self.verdicts.get("history_check") in ("VALID", "not here")
        return books and judged and sum(self.outcomes.values()) == self.sagas and not self.faults


class Soak(Striking):
    """One run. `stop` is how many seconds the leading engine is stopped; more than a lease, or nothing is shown by it."""

    def __init__(
        self, *, sagas: int, kills: int, database: str, seed: int, folder: Path, stop: float, tell: Callable[[str], None]
    ) -> None:  # fmt: skip
        self.kills, self.stop_for = kills, stop
        self.result = Result(seed, database, sagas)
        super().__init__(folder, Crew(folder, seed, ACTOR, KINDS), self.result.faults, tell)
        self._leader_lost: dict[str, list[float]] = {"kill": [], "stop": []}
        self._stopped: Counter[str] = Counter()

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
        self.addresses = {name: f"sqlite:///{name}.db" for name in (OWNER, *PARTICIPANTS)}
        if self.result.database == "postgresql":
            server = self.servers["database"] = PostgresServer(self.folder / "postgresql")
            server.start()
            self.addresses = {name: server.own_database(name) for name in self.addresses}
            self.result.lease = LEASE
        else:
            self.result.notes.append("there is no server to kill: databases are files")
            self.result.notes.append("a stopped engine keeps its file lock: nobody takes over until it goes on or dies")
        ports = iter(_free_ports(ENGINES + len(PARTICIPANTS)))
        engines = [next(ports) for _ in range(ENGINES)]
        taking_part = {name: next(ports) for name in PARTICIPANTS}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in taking_part.items()}
        self._offset = time.time() - time.monotonic()
        common = {"folder": str(self.folder), "urls": urls, "offset": self._offset}
        for name, port in taking_part.items():
            settings = {**common, "owner": name, "database": self.addresses[name], "port": port}
            self.crew.add(name, "take-part", settings)
        for number, port in enumerate(engines):
            settings = {**common, "owner": OWNER, "database": self.addresses[OWNER], "port": port}
            self.crew.add(f"engine {number}", "drive", settings)
        self._opening = self._wait_for_participants()
        self.result.money_at_start = sum(self._opening.values())
        starting = {
            "engines": [f"http://127.0.0.1:{port}" for port in engines],
            "seed": self.result.seed,
            "sagas": self.result.sagas,
        }
        self.crew.add("starter", "start", {**common, **starting, "owner": OWNER})

    def _wait_for_participants(self) -> dict[str, int]:
        """Until each bank has its accounts, and the engines their journal; the balances."""
        limit = time.monotonic() + START
        while time.monotonic() < limit:
            self.wait(0.2)
            try:
                self._rows(OWNER, "SELECT count(*) FROM skerry_sagas")
                balances = self._balances()
            except Exception as error:  # whatever is not there yet: a file, a table
                self.tell(f"not ready: {type(error).__name__}")
                continue
            if balances.keys() == opened().keys():
                return balances
        raise TimeoutError(f"the processes were not ready within {START:.0f} s; see actors.log")

    # --- the storm

    def progress(self) -> str:
        """What is told from time to time."""
        return f"{self.count('started.jsonl')} started, {self.count('calls.jsonl')} calls of participants"

    def woken(self) -> None:
        """The stopped process goes on: did another engine lead meanwhile?"""
        if (self.crew.stopped or "").startswith("engine"):
            leads = lines(self.folder / "leads.jsonl")
            self.result.led_while_one_stopped += any(line["t"] > (self.stop_began or 0.0) for line in leads)

    def _storm(self, begun: float) -> None:
        servers = list(self.servers)
        plan = draw_plan(self.result.seed, sagas=self.result.sagas, kills=self.kills, servers=servers)
        moved, seen = begun, (0, 0)
        while (now := time.monotonic()) < moved + STALL:
            self.turn()
            started, called = self.count("started.jsonl"), self.count("calls.jsonl")
            if (started, called) != seen:
                moved, seen = now, (started, called)
            if due := next((each for each in plan if each.at <= started and self._can(each)), None):
                plan.remove(due)
                self._strike(due)
            elif not plan and started >= self.result.sagas and self.stop_began is None:
                self._settle(begun)
                break
            time.sleep(0.02)
        else:
            self.faults.append(f"nothing moved for {STALL:.0f} s: {seen} started and called, {plan} to come")

    def _can(self, strike: Strike) -> bool:
        """One is stopped at a time. While it is an engine, the other one has to show that it takes over."""
        if strike.kind == STOP_ENGINE:
            return self.stop_began is None and self.leader(ROLE) is not None
        if strike.kind == STOP_PARTICIPANT:
            return self.stop_began is None and len(self.crew.alive("take-part")) == len(PARTICIPANTS)
        if strike.kind in PARTICIPANT_POINTS:
            return self.crew.stopped not in (_one_of(PARTICIPANTS, strike.draw), "engine 0", "engine 1")
        if strike.kind in ("engine", ENGINE_POINT, *self.servers):
            return not (self.crew.stopped or "").startswith("engine")
        return True

    def _strike(self, strike: Strike) -> None:
        now, whom = time.monotonic(), ""
        participant = _one_of(PARTICIPANTS, strike.draw)
        if strike.kind in self.servers:
            self.kill_server(strike.kind, strike.draw * 0.5)
        elif strike.kind == STOP_ENGINE:
            whom = self.leader(ROLE) or ""
            self.stop(whom, self.stop_for)
            self._leader_lost["stop"].append(self.stop_began or now)
            self._stopped["engine"] += 1
        elif strike.kind == STOP_PARTICIPANT:
            whom = participant
            self.stop(whom, 1.0 + 3.0 * strike.draw)
            self._stopped["participant"] += 1
        elif strike.kind == ENGINE_POINT:
            self.kill_at_point("die-engine", "drive", AT_A_POINT + self.stop_for)
        elif strike.kind in PARTICIPANT_POINTS:
            whom = participant
            point = strike.kind.partition(" ")[2].replace(" ", "-")
            self.kill_at_point(f"die-{participant}-{point}", "take-part", AT_A_POINT + self.stop_for)
        else:
            whom = self.kill(strike.kind, lambda: self._choose(strike))
        self.note(strike.kind, now)
        self.tell(f"{strike.at} of {self.count('started.jsonl')} started: {strike.kind} {whom}")

    def _choose(self, strike: Strike) -> str | None:
        """Of the engines the one that leads."""
        if strike.kind == "engine":
            chosen = self.leader(ROLE)
            if chosen is not None:
                self._leader_lost["kill"].append(time.monotonic())
            return chosen
        names = sorted(self.crew.alive("take-part" if strike.kind == "participant" else "start"))
        return _one_of(names, strike.draw) if names else None

    def _settle(self, begun: float) -> None:
        """Wait until every saga has ended, and what comes late has come."""
        from_now = moved = time.monotonic()
        fewest = self.result.sagas + 1
        while time.monotonic() < moved + STALL:
            self.wait(0.3)
            sql = "SELECT count(*) FROM skerry_sagas WHERE status IN ('running', 'compensating')"
            try:
                left = int(self._rows(OWNER, sql)[0][0])
            except SkerryError:  # a server that is just coming up
                continue
            if left < fewest:
                fewest, moved = left, time.monotonic()
            if not left:
                self.result.settled_in = round(time.monotonic() - from_now, 1)
                self.result.sagas_per_second = round(self.result.sagas / (time.monotonic() - begun), 1)
                self.wait(LATER + 1.0)
                return
        self.faults.append(f"not settled: {fewest} sagas are open")

    # --- the books

    def _rows(self, owner: str, sql: str) -> list[Any]:
        async def fetch() -> list[Any]:
            database = connect_database(self.addresses[owner], owner=owner, data=self.folder)
            await database.open()
            try:
                return await database.fetch_all(sql)
            finally:
                await database.close()

        return asyncio.run(fetch())

    def _balances(self) -> dict[str, int]:
        return {
            f"{bank}.{name}": int(cents) for bank in BANKS for name, cents in self._rows(bank, "SELECT * FROM accounts")
        }

    def _found(self) -> Found:
        ids: dict[str, set[str]] = defaultdict(set)
        for line in (*lines(self.folder / "started.jsonl"), *lines(self.folder / "again.jsonl")):
            ids[line["saga"]].add(line["id"])
        ends = {}
        for key, saga_id, status, at in self._rows(OWNER, "SELECT key, id, status, changed_at FROM skerry_sagas"):
            ids[key].add(saga_id)
            ends[key] = status, at - self._offset
        sql = "SELECT kind, saga, step, t FROM effects ORDER BY t"
        effects = [Effect(*row) for name in PARTICIPANTS for row in self._rows(name, sql)]
        return Found(ids, ends, effects, self._balances(), self._opening)

    def _judge(self, begun: float) -> None:
        result, folder = self.result, self.folder
        found = self._found()
        result.outcomes = dict(Counter(status for status, _ in found.ends.values()))
        result.money_at_end = sum(found.balances.values())
        for name, count in asdict(compare(draw_orders(result.seed, result.sagas), found)).items():
            setattr(result, name, count)
        calls = lines(folder / "calls.jsonl")
        told = [*lines(folder / "started.jsonl"), *lines(folder / "unknown.jsonl"), *calls, *self.struck]
        written = list(history(found, told, begun=begun, ended=time.monotonic()))
        result.verdicts = verdicts(folder / "history.jsonl", written)
        result.tried_again = again(calls)
        result.starts = {
            "acknowledged": len({line["saga"] for line in lines(folder / "started.jsonl")}),
            "unknown": len(lines(folder / "unknown.jsonl")),
            "once more on purpose": len(lines(folder / "again.jsonl")),
        }
        result.happened = dict(Counter(line["what"] for line in lines(folder / "happened.jsonl")))
        self._measure()
        self._demand()

    def _measure(self) -> None:
        """How long there was nobody to go on."""
        leads = [line for line in lines(self.folder / "leads.jsonl") if line["role"] == ROLE]
        rows = self._rows(OWNER, "SELECT at FROM skerry_saga_log ORDER BY at")
        journal = [row[0] - self._offset for row in rows]
        deaths = [line["t"] for line in lines(self.folder / "deaths.jsonl") if line["flag"] == "die-engine"]
        for how, losses in (("kill", self._leader_lost["kill"] + deaths), ("stop", self._leader_lost["stop"])):
            if how == "stop" and self.result.database == "sqlite":
                continue
            took, same = take_overs(sorted(losses), leads, journal)
            self.result.taken_over |= {f"after a {how} by the other": len(took), f"after a {how} by itself": same}
            if took:
                setattr(self.result, f"seconds_after_{how}", self._shown(took))
        fenced = lines(self.folder / "fenced.jsonl")
        ended = ("engine", ENGINE_POINT, *self.servers)
        struck = [line for line in self.struck if line["name"] in ended]
        for began in self._leader_lost["stop"]:
            within = began, began + self.stop_for + LEASE
            if any(within[0] < line["t"] < within[1] for line in fenced):
                self.result.woken_and_fenced_off += 1
            elif any(within[0] < line["t"] < within[1] for line in struck):
                self.result.woken_and_struck_again += 1

    def _shown(self, took: list[tuple[float, float]]) -> dict[str, float]:
        """In seconds. What the successor needs is seen where nothing else was struck before it got on."""
        alone = [
            seconds
            for lost, seconds in took
            if not any(lost + NOTED < line["t"] < lost + seconds for line in self.struck)
        ]
        each = [seconds for _, seconds in took]
        shown = {
            "median": statistics.median(each),
            "max": max(each),
            "max with nothing else struck": max(alone, default=0.0),
        }
        return {name: round(seconds, 2) for name, seconds in shown.items()}

    def _demand(self) -> None:
        """Whether what was planned has happened."""
        result, wanted_stops = self.result, stops(self.kills)
        result.kills, result.stops = self.killed, dict(self._stopped)
        kinds = [*PROCESSES, *(f"{name} server" for name in self.servers)]
        wanted = {
            f"{self.kills} kills": sum(result.kills.values()) == self.kills,
            "kills of " + ", ".join(kinds): self.kills < len(kinds) + 3
            or all(result.kills.get(each) for each in kinds),
            f"{wanted_stops} stops of each": all(
                self._stopped[each] == wanted_stops for each in ("engine", "participant")
            ),
            "a take-over after a kill": result.taken_over.get("after a kill by the other", 0) > 0,
            "all sagas acknowledged": result.starts["acknowledged"] == result.sagas,
            "starts once more on purpose": result.starts["once more on purpose"] > 0,
            "a lost reply": result.happened.get("reply lost", 0) > 0,
            "a late action refused": result.happened.get("late action refused", 0) > 0,
            "a step declined": result.happened.get("declined", 0) > 0,
            "sagas that completed, and that were compensated": {"completed", "compensated"} <= result.outcomes.keys(),
            "a step tried again": result.tried_again["steps tried again"] > 0,
        }
        if result.database == "postgresql":
            wanted["another engine leading whenever one was stopped"] = result.led_while_one_stopped == wanted_stops
            told = result.woken_and_fenced_off + result.woken_and_struck_again
            wanted["each woken engine fenced off, unless it was struck again first"] = told == wanted_stops
            wanted["a woken engine fenced off"] = result.woken_and_fenced_off > 0
        self.faults += [f"did not happen: {what}" for what, happened in wanted.items() if not happened]
        self.faults += [f"{what}, {count} times" for what, count in self.crew.faults.items()]


def _one_of(names: Any, draw: float) -> str:
    return str(names[int(draw * len(names))])


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
        if len(found) == count:
            break
    return found
