"""What is told of an event on its way: the span of recording it, of handing it to the broker, and of handling it.

Recording makes the context that the event carries, so that whatever handles it stands below, in the same trace, whenever that
is. Handing over is work of the relay's own.

Source: OpenTelemetry semantic conventions 1.45.0, messaging spans: `create` is the producer's, `send` after it a client's,
`process` the consumer's; one for several messages links to what each of them carries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
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
MAX_LINKS: Final = 128
"""Events of a batch that its span links to, as many as OpenTelemetry's SDK keeps unless it is told otherwise."""
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
    """The span of handing these to the broker: below the event where it is one, linked to each of several."""
    if not (messages and wanted()):
        yield
        return
    types, alone = {each.type for each in messages}, len(messages) == 1
    type_ = types.pop() if len(types) == 1 else ""
    told = _about("send", "send", type_) | _which([each.id for each in messages])
    around = _within(_carried(messages[0])) if alone else context.EMPTY
    links = () if alone else _linked(map(_carried, messages))
    with span(f"send {type_}".rstrip(), "client", around, attributes=told, links=links, clock=clock):
        yield


@contextmanager
def handling(envelopes: Sequence[Envelope], group: str) -> Iterator[CallContext]:
    """The context of handling these; its span, and how long it took, while anybody wants to know.

    Below the event where it is one, linked to each of several: their traces are not one.
    """
    count = len(envelopes)
    trace = _within(envelopes[0].traceparent) if count == 1 else context.EMPTY
    if not (wanted() or HUB.measured):
        yield trace
        return
    type_ = envelopes[0].type
    told = _about("handle", "process", type_) | {"messaging.consumer.group.name": group}
    told |= _which([each.id for each in envelopes])
    links = () if count == 1 else _linked(each.traceparent for each in envelopes)
    work = span(f"handle {type_}", "consumer", trace, attributes=told, links=links)
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


def _carried(message: Message) -> str:
    found = _CARRIED.search(message.body, max(0, len(message.body) - _TAIL))
    return "" if found is None else found[1]


def _within(carried: str) -> CallContext:
    """The trace that an event carries, if it is one."""
    return CallContext(traceparent=context.extract({"traceparent": carried}).traceparent) if carried else context.EMPTY


def _linked(carried: Iterable[str]) -> Sequence[str]:
    return tuple(islice(filter(None, (_within(each).traceparent for each in carried)), MAX_LINKS))


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
