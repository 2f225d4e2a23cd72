"""The system under the storm: who is who, and how each process is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from skerry.topology import ServiceSpec, System

FOLDER = Path(__file__).parents[1]
PUBLISHERS = ("pub-a", "pub-b", "pub-c", "pub-d")
CONSUMERS = ("con-x", "con-y", "con-z")
BANKS = ("bank-a", "bank-b", "bank-c")
TELLER = "teller"
HOLDING = "con-y"
"""Keeps later events of a key behind a dead letter until a person decides; the others let them pass."""
PATIENT = "con-z"
"""Waits so long between two tries that the clock on the wall is often set meanwhile."""
RESTLESS = "pub-b"
"""Begins a segment with every batch, so that whatever is relayed again comes twice to the consumers."""
SEGMENT_BYTES = 32 * 1024
"""So small that the segments of the others end every few seconds."""
TWICE = ("pub-a", "con-x", TELLER)
"""Services that run as two processes on one database."""

TABLES = {
    "publisher": ("published", "skerry_outbox", "log", "meta", "skerry_receipts"),
    "consumer": ("effects", "skerry_positions", "skerry_parked"),
    "teller": ("asked", "skerry_sagas", "skerry_saga_log"),
    "bank": ("actions", "skerry_receipts"),
}
"""For each kind of service, the tables at whose commits a process may be hit."""
FIRST_WRITES = ("skerry_owner", "skerry_migrations", "meta")
"""Tables that are written when a service starts for the first time."""


def replicas(service: str) -> tuple[str, ...]:
    """The processes that run a service."""
    return (f"{service}-1", f"{service}-2") if service in TWICE else (service,)


def kind_of(process: str) -> str:
    """What kind of service a process runs."""
    return {"pub": "publisher", "con": "consumer", "ban": "bank", "tel": "teller"}[process[:3]]


def system() -> System:
    """All processes, as a system that the supervisor can run.

    The clock of the teller stays right: its journal tells, by that clock, when a saga has ended.
    """
    specs = {}
    for service in (*PUBLISHERS, *CONSUMERS, TELLER, *BANKS):
        for process in replicas(service):
            specs[process] = ServiceSpec(
                name=process,
                app=f"{kind_of(process)}:service",
                database=f"sqlite:///{service}.db",
                env={
                    "SOAK_NAME": service,
                    "SOAK_HOLD": str(int(service == HOLDING)),
                    "SOAK_SEGMENT": str(1 if service == RESTLESS else SEGMENT_BYTES),
                    "SOAK_PAUSE": "3.0" if service == PATIENT else "0.05",
                    "SOAK_WALL": str(int(service != TELLER)),
                },
            )
    return System(name="soak", file=FOLDER / "apps" / "skerry.toml", services=specs, events="sqlite:///events/")


def environment(data: Path, history: Path, deliveries: Path) -> Mapping[str, str]:
    """What all processes inherit: the shim that hits them, and where they write what they do."""
    points = data / "points"
    points.mkdir(parents=True, exist_ok=True)
    paths = [str(FOLDER / "shim"), str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SOAK_POINTS": str(points),
        "SOAK_HISTORY": str(history),
        "SOAK_DELIVERIES": str(deliveries),
        "SKERRY_DRAIN": "2",
        "SKERRY_LOG_LEVEL": "info",
    }
