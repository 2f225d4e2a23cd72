"""The one event that everybody here publishes or counts."""

from __future__ import annotations

from skerry.events import DomainEvent


class Counted(DomainEvent, type="soak.counted", version=1, key="aggregate"):
    """`op` is the client's own name for it. The consumer named by `poison` cannot handle it, that of `stumble` must try twice."""

    op: str
    aggregate: str
    seq: int
    poison: str = ""
    stumble: str = ""
