"""What is told of an event on its way: the span of recording it, of handing it to the broker, and of handling it.

Recording makes the context that the event carries, so that whatever handles it stands below, in the same trace, whenever that
is. Handing over is work of the relay's own.

Source: OpenTelemetry semantic conventions 1.45.0, messaging spans: `create` is the producer's, `send` after it a client's,
`process` the consumer's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from skerry import context
from skerry.clock import Clock
from skerry.context import CallContext
from skerry.events.brokers import Message
from skerry.events.envelope import Envelope
from skerry.signals import HUB, HandlerTimed, emit
from skerry.telemetry.conventions import MESSAGING_SYSTEM
from skerry.telemetry.encoding import Value
from skerry.telemetry.spans import child, here, span, tell, wanted

_CARRIED: Final = re.compile(
    r',"traceparent":"([0-9a-f-]{55})"(?:,"causationid":"[^"\\]*")?(?:,"sequence":"[0-9]+")?\}$'
)
"""The trace of an event at the end of its envelope, behind the data, as `Envelope.to_json` writes it."""
_TAIL: Final = 512
"""Characters of an envelope's end in which that stands: two attributes of at most 255, and names."""


def created(event_id: str, event_type: str, *, clock: Clock) -> str:
    """Tell that an event is recorded; the trace that it carries. Only while somebody wants spans.

    It is told whether or not the transaction commits: nobody knows yet, and the span of what fails around it says so.
    """
    around, name, began = here(), f"create {event_type}", clock.monotonic()
    own = child(name, "producer", around, clock=clock).traceparent
    told = _about("create", "create", event_type) | {"messaging.message.id": event_id}
    seconds = clock.monotonic() - began
    tell(name, "producer", own=own, parent=around.traceparent, seconds=seconds, error="", attributes=told, clock=clock)
    return own


@contextmanager
def sending(messages: Sequence[Message], *, clock: Clock) -> Iterator[None]:
    """The span of handing these to the broker: below the event where it is one, a trace of its own for several."""
    if not (messages and wanted()):
        yield
        return
    types, alone = {each.type for each in messages}, len(messages) == 1
    type_ = types.pop() if len(types) == 1 else ""
    told = _about("send", "send", type_) | _which([each.id for each in messages])
    carried = _CARRIED.search(messages[0].body, max(0, len(messages[0].body) - _TAIL)) if alone else None
    around = context.EMPTY
    if carried is not None:
        around = CallContext(traceparent=context.extract({"traceparent": carried[1]}).traceparent)
    with span(f"send {type_}".rstrip(), "client", around, attributes=told, clock=clock):
        yield


@contextmanager
def handling(envelopes: Sequence[Envelope], group: str, trace: CallContext) -> Iterator[CallContext]:
    """The span of handling these, and how long it took, while anybody wants to know."""
    if not (wanted() or HUB.measured):
        yield trace
        return
    type_, count = envelopes[0].type, len(envelopes)
    told = _about("handle", "process", type_) | {"messaging.consumer.group.name": group}
    told |= _which([each.id for each in envelopes])
    work = span(f"handle {type_}", "consumer", trace, attributes=told)
    error = ""
    try:
        with work:
            yield work.context
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        if HUB.measured:
            emit(HandlerTimed(group=group, type=type_, count=count, seconds=work.seconds, error=error))


def _about(operation: str, kind: str, event_type: str) -> dict[str, Value]:
    told: dict[str, Value] = {
        "messaging.system": MESSAGING_SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }
    if event_type:
        told["messaging.destination.name"] = event_type
    return told


def _which(ids: Sequence[str]) -> dict[str, Value]:
    return {"messaging.message.id": ids[0]} if len(ids) == 1 else {"messaging.batch.message_count": len(ids)}
