"""Watches the processes' own logs: who holds which exclusive role, and when another one took it over."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from skerry.deploy import LogFiles

from .system import kind_of

_ENDS = {"completed", "compensated", "compensating", "stuck"}


class Watch:
    """An output of the supervisor that keeps the logs and reads the signals in them.

    `holders` maps a role to the process that was seen in it last; `take_overs` counts the changes from one process to
    another; `resumed` those where a new process of the same name came back to it.
    """

    def __init__(self, logs: LogFiles) -> None:
        self._logs = logs
        self.holders: dict[str, str] = {}
        self.take_overs: Counter[str] = Counter()
        self.resumed: Counter[str] = Counter()
        self.recovered = 0
        self.trouble: Counter[str] = Counter()

    def line(self, name: str, text: str) -> None:
        """Keep a line, and read it when it is a signal."""
        self._logs.line(name, text)
        if not text.startswith("{"):
            return
        try:
            record = json.loads(text)
        except ValueError:
            return
        self._read(name, record)

    def close(self) -> None:
        """Close the logs."""
        self._logs.close()

    def _read(self, name: str, record: dict[str, Any]) -> None:
        signal = record.get("signal")
        if signal == "RelayChanged" and record["state"] == "leading" and kind_of(name) == "publisher":
            self._holds(f"relay of {record['service']}", name, anew=True)
        elif signal == "SagasRecovered":
            self.recovered += record["count"]
            self._holds("sagas", name, anew=True)
        elif signal == "SagaChanged" and record["status"] in _ENDS:
            self._holds("sagas", name, anew=False)
        elif record.get("level") in {"error", "critical"} and signal != "EventParked":
            what = signal or record.get("message", "").strip()[:60]
            why = record.get("error") or record.get("exception", "").rpartition("\n")[2][:160]
            self.trouble[f"{kind_of(name)}: {what} {why}"] += 1

    def _holds(self, role: str, name: str, *, anew: bool) -> None:
        before = self.holders.get(role)
        self.holders[role] = name
        if before is not None and before != name:
            self.take_overs[role.partition(" ")[0]] += 1
        elif before is not None and anew:
            self.resumed[role.partition(" ")[0]] += 1


def count_deliveries(lines: list[dict[str, Any]]) -> tuple[Counter[str], int]:
    """From the log of deliveries: what came again, and why; and how often a consumer's role changed hands.

    A handler is given an event again after a crash (then by another process than before) or after it failed; the receipt
    of a duplicate was there already. `late` is an action that a participant refused since it had been compensated before.
    """
    seen: dict[tuple[str, str], int] = {}
    holders: dict[str, str] = {}
    again: Counter[str] = Counter()
    take_overs = 0
    for line in lines:
        if line["kind"] == "late":
            again["late"] += 1
            continue
        consumer, process = line["consumer"], line["process"]
        take_overs += holders.setdefault(consumer, process) != process
        holders[consumer] = process
        if line["kind"] == "duplicate":
            again["duplicate"] += 1
            continue
        before = seen.get((consumer, line["event_id"]))
        if before is not None:
            again["after a failure" if before == line["pid"] else "after a crash"] += 1
        seen[consumer, line["event_id"]] = line["pid"]
    return again, take_overs
