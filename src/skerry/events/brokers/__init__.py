"""Transports behind one small port: one file each, chosen by URL."""

from __future__ import annotations

from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.events.brokers.port import Broker, Delivery, Durability, Message, Position, Subscription

__all__ = ["Broker", "Delivery", "Durability", "Message", "Position", "Subscription", "connect"]


def connect(url: str, *, source: str, data: Path, clock: Clock = SYSTEM) -> Broker:
    """The broker behind `url`, for the service `source`. Today `sqlite:///FOLDER/`, the embedded event log."""
    from skerry.events.brokers.eventlog import EventLog
    from skerry.store import resolve

    if not url.endswith("/"):
        raise ConfigurationError("the address of an event log is a folder and ends with a slash: sqlite:///events/")
    return EventLog(resolve(url, data), source=source, clock=clock)
