"""One trace out of its spans: each once, ids that are told apart, in the order of their start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from skerry.architecture.traces.spans import Span, SpanKind

_ASKING: Final = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})
_ANSWERING: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})


def assembled(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The trace.

    A span that came twice, as from two files or a request that was sent again, counts once; the longer one stays, for the other
    was told while it went on. Where both sides of a call have one id, as Zipkin lets them, the answering side gets an id of its
    own below the asking one, and what it did is put below it.
    """
    alike: dict[tuple[str, str, SpanKind], Span] = {}
    for span in spans:
        key = (span.span, span.service, span.kind)
        known = alike.get(key)
        if known is None or span.end - span.start > known.end - known.start:
            alike[key] = span
    by_id: dict[str, list[Span]] = defaultdict(list)
    for span in alike.values():
        by_id[span.span].append(span)
    if all(len(those) == 1 for those in by_id.values()):
        return tuple(sorted(alike.values(), key=lambda span: (span.start, span.span)))
    return tuple(sorted(_apart(by_id), key=lambda span: (span.start, span.span)))


def _apart(by_id: dict[str, list[Span]]) -> list[Span]:
    renamed: dict[tuple[str, str], str] = {}
    """(id, service) to the new id of the answering side."""
    found: list[Span] = []
    for identity, those in by_id.items():
        asking = next((span for span in those if span.kind in _ASKING), None)
        for number, span in enumerate(sorted(those, key=lambda each: (each.kind in _ANSWERING, each.start))):
            if number == 0:
                found.append(span)
            elif asking is not None and span.kind in _ANSWERING:
                renamed[identity, span.service] = f"{identity}/{span.kind.value}"
                found.append(replace(span, span=renamed[identity, span.service], parent=identity))
            else:
                found.append(replace(span, span=f"{identity}/{number}"))
    return [
        replace(span, parent=renamed[span.parent, span.service]) if _below(span, renamed) else span for span in found
    ]


def _below(span: Span, renamed: dict[tuple[str, str], str]) -> bool:
    new = renamed.get((span.parent, span.service))
    return new is not None and span.span != new
