"""Events that cannot be lost: recorded with the state, relayed in order, handled once.

Delivery is at least once. What a handler writes through its transaction happens once, because the receipt commits with it.
Order holds per producer and key.
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import pydantic  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("Events", "events") from _error

from skerry.events.backlog import Backlog, backlog
from skerry.events.binding import AMQP, HTTP, KAFKA, NATS, Binding
from skerry.events.brokers import Broker, connect
from skerry.events.bus import HANDLER_RETRY, EventBus
from skerry.events.catalogue import Projections
from skerry.events.consumer import Consumer
from skerry.events.envelope import Envelope
from skerry.events.event import DomainEvent
from skerry.events.inbox import Inbox
from skerry.events.outbox import Outbox, Token
from skerry.events.parking import Dead, DeadLetter, DeadLetters, Letter
from skerry.events.projection import Builder, Projection, ProjectionStatus, ProjectionTx
from skerry.events.relay import Relay

__all__ = [
    "AMQP",
    "HANDLER_RETRY",
    "HTTP",
    "KAFKA",
    "NATS",
    "Backlog",
    "Binding",
    "Broker",
    "Builder",
    "Consumer",
    "Dead",
    "DeadLetter",
    "DeadLetters",
    "DomainEvent",
    "Envelope",
    "EventBus",
    "Inbox",
    "Letter",
    "Outbox",
    "Projection",
    "ProjectionStatus",
    "ProjectionTx",
    "Projections",
    "Relay",
    "Token",
    "backlog",
    "connect",
]
