from __future__ import annotations

from skerry.events import DomainEvent


class Booked(DomainEvent, type="inn.room.booked", version=1, key="room"):
    """A guest booked; `n` counts within the room, `release` is that of the desk."""

    room: str
    n: int
    release: str
