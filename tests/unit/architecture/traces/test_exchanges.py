"""Which spans are calls: a second span of the same call is none, a further try is one."""

from typing import Any

from skerry.architecture.joining.exchanges import exchanges
from skerry.architecture.joining.names import Names
from skerry.architecture.traces.conventions import stable
from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.spans import Span, SpanKind, Traces


def span(identity: str, service: str, kind: SpanKind, start: float, end: float, parent: str = "", **said: Any) -> Span:
    asked = {"http.request.method": "GET", "url.full": "http://stock/items", **said}
    return Span(
        trace="t", span=identity, parent=parent, service=service, name="GET", kind=kind, start=start, end=end,
        error=False, attributes=asked, line=1, file="t.jsonl",
    )  # fmt: skip


def calls(*spans: Span) -> list[tuple[str, bool]]:
    """Each call, and whether its answer was seen."""
    [(_, found)] = exchanges(Traces(traces={"t": spans}), Names({}))
    return [(each.span.span, each.answered) for each in found]


FIRST = span("first", "order", SpanKind.CLIENT, 0.0, 1.0)
ANSWER = span("answer", "stock", SpanKind.SERVER, 0.3, 0.8, "second")


def test_a_library_within_a_library_tells_of_one_call() -> None:
    """The answer stands below the inner one."""
    assert calls(FIRST, span("second", "order", SpanKind.CLIENT, 0.1, 0.9, "first"), ANSWER) == [("first", True)]


def test_a_further_try_below_the_first_is_a_call() -> None:
    """It came after the first, or says which one it is."""
    later = span("second", "order", SpanKind.CLIENT, 2.0, 3.0, "first")
    hedges = [
        span("second", "order", SpanKind.CLIENT, 0.1, 0.9, "first", **stable({says: 1}, SpanKind.CLIENT, Masks()))
        for says in ("http.request.resend_count", "previous-rpc-attempts")
    ]
    for second in (later, *hedges):
        assert calls(FIRST, second, ANSWER) == [("first", False), ("second", True)]
