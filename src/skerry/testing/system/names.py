"""How a test names an event: by its type on the wire, its class, or the class's name."""

from __future__ import annotations

import re

from skerry.events import DomainEvent

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_event(event_type: str, wanted: str | type[DomainEvent]) -> bool:
    """Whether an event of this type is meant.

    `OrderPlaced` means the type `order.placed`, whatever stands before it; and the type of each class that is called so.
    """
    if not isinstance(wanted, str):
        return event_type == wanted.event_type
    if event_type == wanted or event_type in _types_of(wanted):
        return True
    dotted = _WORD.sub(".", wanted).lower()
    return event_type == dotted or event_type.endswith(f".{dotted}")


def told(event: str | type[DomainEvent]) -> str:
    """The name as the test gave it; of a class its type."""
    return event if isinstance(event, str) else event.event_type


def _types_of(name: str) -> set[str]:
    return {each.event_type for each in DomainEvent.__subclasses__() if each.__name__ == name}
