"""The rule no-compensation, by code and by traces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from skerry.architecture.code.extract import extract
from skerry.architecture.code.facts import Code
from skerry.architecture.code.resolve import resolve
from skerry.architecture.model import Service, SystemModel
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.no_compensation import no_compensation
from skerry.architecture.traces.spans import Span, SpanKind, Traces

SHOP = Path(__file__).parents[4] / "examples" / "shop"


class Nothing:
    """The rule reads no file itself."""

    sizes: Mapping[str, int] = {}
    skipped = ()

    def read(self, path: str) -> bytes:
        raise KeyError(path)


def findings(files: dict[str, str], traces: Traces | None = None) -> list[Finding]:
    code = resolve({path: extract(path, text.encode()) for path, text in files.items()}) if files else Code()
    names = sorted({path.partition("/")[0] for path in files})
    model = SystemModel(services={name: Service(name=name, roots=(name,)) for name in names})
    return list(no_compensation.check(Subject(files=Nothing(), code=code, model=model, traces=traces)))


def shop() -> dict[str, str]:
    return {
        str(path.relative_to(SHOP)): path.read_text()
        for folder in ("order", "payment", "inventory", "shipping")
        for path in sorted((SHOP / folder).glob("*.py"))
    }


def test_the_shop_is_clean_and_says_why() -> None:
    """Each service with what was seen of it; the saga of orders is named."""
    found = findings(shop())
    assert {each.verdict for each in found} == {Verdict.CLEAN}
    (order,) = [each for each in found if each.services == ("order",)]
    assert any("fulfilment" in each.text for each in order.evidence)


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        ("@accept.compensate", Verdict.VIOLATION),
        ("@reserve.compensate", Verdict.VIOLATION),
        ("@charge.compensate", Verdict.SUSPECT),
    ],
)
def test_without_one_compensation_the_shop_is_not_clean(mark: str, verdict: Verdict) -> None:
    """The order service alone is blamed, once, for the step that lost it."""
    files = shop()
    before, _, after = files["order/saga.py"].partition(mark)
    files["order/saga.py"] = before + after.partition("\n\n\n")[2]
    found = [each for each in findings(files) if each.verdict is not Verdict.CLEAN]
    assert [(each.verdict, each.services) for each in found] == [(verdict, ("order",))]


def test_an_event_after_the_commit_is_a_suspect_and_one_in_it_is_clean() -> None:
    """The advice for it is an outbox."""
    text = 'import pika\ndef f():\n    session.commit()\n    ch.basic_publish(routing_key="a")\n'
    (found,) = findings({"api/app.py": text})
    assert (found.verdict, found.severity, found.place and found.place.line) == (Verdict.SUSPECT, Severity.WARNING, 3)
    assert "outbox" in found.fix
    kept = "def f(tx):\n    service.outbox.record_sync(tx, Placed())\n    tx.commit()\n"
    assert [each.verdict for each in findings({"api/app.py": kept})] == [Verdict.CLEAN]


def test_where_there_is_no_code_nothing_is_said() -> None:
    """Unknown, with what is missing."""
    (found,) = findings({})
    assert (found.verdict, "Python" in found.message) == (Verdict.UNKNOWN, True)


def span(
    at: float, name: str, *, kind: SpanKind = SpanKind.CLIENT, error: bool = False, parent: str = "in", **more: str
) -> Span:
    method, _, rest = name.partition(" ")
    peer, _, path = rest.partition("/")
    attributes: dict[str, str | int | float | bool] = {k.replace("_", "."): v for k, v in more.items()}
    if kind is SpanKind.CLIENT:
        attributes |= {"http.request.method": method, "server.address": peer, "url.path": f"/{path}"}
    return Span(
        trace="t",
        span="in" if kind is SpanKind.SERVER else f"{name}{at}",
        parent="" if kind is SpanKind.SERVER else parent,
        service="order",
        name=name,
        kind=kind,
        start=at,
        end=at + 0.5,
        error=error,
        attributes=attributes,
        line=1,
        file="t.jsonl",
    )


ENTRY = span(0, "POST /orders", kind=SpanKind.SERVER, error=True)
PAID = span(1, "POST payment/payments")
FAILED = span(2, "POST shipping/shipments", error=True)


@pytest.mark.parametrize(
    ("spans", "lost"),
    [
        ((ENTRY, PAID, FAILED), 1),
        ((ENTRY, PAID, FAILED, span(3, "POST payment/payments/1/refund")), 0),
        ((ENTRY, PAID, FAILED, span(3, "DELETE payment/payments/1")), 0),
        ((ENTRY, PAID, FAILED, span(3, "DELETE elsewhere/carts/1")), 1),
        ((ENTRY, PAID, FAILED, span(3, "POST shipping/shipments")), 0),
        ((ENTRY, span(1, "GET payment/payments"), FAILED), 0),
        ((ENTRY, span(1, "POST users/login"), FAILED), 0),
        ((ENTRY, FAILED, span(3, "POST payment/payments")), 0),
        ((ENTRY, PAID, span(2, "POST shipping/shipments")), 0),
    ],
)
def test_traces_show_what_stayed_done(spans: tuple[Span, ...], lost: int) -> None:
    """A write that went well, then one that failed, and no call that undid the first, nor a try that went well."""
    found = [each for each in findings({}, Traces(traces={"t": spans})) if each.verdict is Verdict.VIOLATION]
    assert len(found) == lost
    assert all(each.services == ("order",) and each.evidence for each in found)


def test_a_compensation_in_another_trace_counts_by_its_key() -> None:
    """Sagas compensate later, outside of the request."""
    spans = (ENTRY, span(1, "POST payment/payments", order_id="o-17"), FAILED)
    later = (span(9, "POST payment/refunds", order_id="o-17", parent=""),)
    found = findings({}, Traces(traces={"t": spans, "u": later}))
    assert not [each for each in found if each.verdict is Verdict.VIOLATION]
