"""Reads the services' own databases: whether all is settled, and what really happened, for the history."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from .lines import Lines
from .system import BANKS, CONSUMERS, PUBLISHERS, TELLER

_ENDED = "('completed', 'compensated', 'stuck')"


class Books:
    """The databases in `data`, read only."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def rows(self, service: str, sql: str) -> list[Any]:
        """One query on a service's database."""
        uri = f"file:{self._data / service}.db?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            return connection.execute(sql).fetchall()

    def unsettled(self) -> dict[str, int]:
        """What is still under way, by what it is; empty when nothing is."""
        outbox = sum(self.rows(each, "SELECT count(*) FROM skerry_outbox")[0][0] for each in PUBLISHERS)
        published = {row[0] for each in PUBLISHERS for row in self.rows(each, "SELECT op FROM published")}
        missing = waiting = 0
        for consumer in CONSUMERS:
            effects = {row[0] for row in self.rows(consumer, "SELECT event_id FROM effects")}
            missing += len(published - effects - set(self._dead(consumer)))
            waiting += self.rows(consumer, "SELECT count(*) FROM skerry_parked WHERE state <> 'dead'")[0][0]
        sagas = self.rows(TELLER, f"SELECT count(*) FROM skerry_sagas WHERE status NOT IN {_ENDED}")[0][0]
        found = {"in an outbox": outbox, "unhandled": missing, "parked": waiting, "open sagas": sagas}
        return {what: count for what, count in found.items() if count}

    def balances(self, history: Lines, phase: str) -> None:
        """Write the balance of every account of every participant."""
        for bank in BANKS:
            for name, amount in self.rows(bank, "SELECT name, amount FROM accounts"):
                history.write("balance", phase=phase, account=f"{bank}.{name}", amount=amount)

    def export(self, history: Lines) -> None:
        """Write what happened into the history: effects, dead letters, ended sagas, balances."""
        for consumer in CONSUMERS:
            self._export_events(history, consumer)
        for bank in BANKS:
            for kind, saga, step, t in self.rows(bank, "SELECT kind, saga, step, t FROM actions ORDER BY id"):
                history.write(kind, saga=saga, step=step, t=t)
        self._export_ends(history)
        self.balances(history, "end")

    def _export_events(self, history: Lines, consumer: str) -> None:
        history.write("consumer", consumer=consumer)
        sql = "SELECT event_id, aggregate, seq, t FROM effects ORDER BY id"
        for event_id, aggregate, seq, t in self.rows(consumer, sql):
            told = {"consumer": consumer, "event_id": event_id, "aggregate": aggregate, "seq": seq}
            history.write("handled", t=t, **told)
            history.write("effect", t=t, key=event_id, **told)
        for event_id in self._dead(consumer):
            history.write("dead", consumer=consumer, event_id=event_id)

    def _dead(self, consumer: str) -> list[str]:
        bodies = self.rows(consumer, "SELECT body FROM skerry_parked WHERE state = 'dead'")
        return [json.loads(body)["data"]["op"] for (body,) in bodies]

    def _export_ends(self, history: Lines) -> None:
        """The journal tells the time of the wall; both clocks of one host go at one pace."""
        offset = time.time() - time.monotonic()
        sql = f"SELECT key, status, changed_at, reason FROM skerry_sagas WHERE status IN {_ENDED}"
        for saga, status, changed_at, reason in self.rows(TELLER, sql):
            history.write("saga_ended", saga=saga, status=status, reason=reason, t=changed_at - offset)
        never = "SELECT saga FROM asked WHERE saga NOT IN (SELECT key FROM skerry_sagas)"
        alone = "SELECT key FROM skerry_sagas WHERE key NOT IN (SELECT saga FROM asked)"
        torn = self.rows(TELLER, f"{never} UNION ALL {alone}")
        if torn:
            raise RuntimeError(f"sagas and the rows that should commit with them differ: {torn[:5]}")
