"""What code says and what traces show of one edge is one finding, and a contradiction is a suspect."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from facts import BREAKER, ENDLESS, FILE, call, subject

from skerry.architecture.code.facts import Loop
from skerry.architecture.model import Source
from skerry.architecture.rules import Finding, Rule, Severity, Subject, Verdict
from skerry.architecture.rules.chatty import chatty
from skerry.architecture.rules.no_circuit_breaker import no_circuit_breaker
from skerry.architecture.rules.no_timeout import no_timeout
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span, SpanKind, Traces


def span(
    identity: str, kind: SpanKind, *, at: float = 0.0, length: float = 0.05, parent: str = "", error: bool = False
) -> Span:
    asks = {"http.request.method": "GET", "url.full": f"http://peer/a/{identity}", "server.address": "peer"}
    return Span(
        trace="t",
        span=identity,
        parent=parent,
        service="api",
        name="GET",
        kind=kind,
        start=at,
        end=at + length,
        error=error,
        attributes=asks if kind is SpanKind.CLIENT else {},
        line=4,
        file="t.jsonl",
    )


def traces(*clients: Span) -> Traces:
    return Traces(traces={"t": (span("in", SpanKind.SERVER, length=200.0), *clients)})


def told(rule: Rule, system: Subject) -> list[Finding]:
    return [each for each in rule.check(system) if each.verdict in {Verdict.VIOLATION, Verdict.SUSPECT}]


def by_trace(finding: Finding) -> list[Place | None]:
    return [each.place for each in finding.evidence if each.source is Source.TRACE]


SLOW = traces(span("1", SpanKind.CLIENT, length=90.0, parent="in"))
DOWN = traces(*(span(str(n), SpanKind.CLIENT, at=float(n), parent="in", error=True) for n in range(30)))
MANY = traces(*(span(str(n), SpanKind.CLIENT, at=n * 0.1, parent="in") for n in range(25)))


def test_a_call_without_a_limit_that_took_long_is_one_finding() -> None:
    """At the code, with the trace as evidence."""
    (found,) = told(no_timeout, subject(call(7, timeout=ENDLESS), traces=SLOW))
    assert found.place == Place(FILE, 7)
    assert by_trace(found) == [Place("t.jsonl", 4)]


def test_a_limit_that_did_not_hold_is_a_suspect() -> None:
    """Reading says two seconds, the trace says ninety: a person has to look."""
    (found,) = told(no_timeout, subject(call(7), traces=SLOW))
    assert (found.verdict, found.severity) == (Verdict.SUSPECT, Severity.WARNING)
    assert "2 s did not hold" in found.message


def test_an_outage_is_evidence_for_the_breaker_that_is_missing() -> None:
    """One finding for the edge."""
    (found,) = told(no_circuit_breaker, subject(call(7), traces=DOWN))
    assert found.place == Place(FILE, 7)
    assert by_trace(found) == [Place("t.jsonl", 4)]


def test_a_breaker_that_did_not_open_is_a_suspect() -> None:
    """It is there, and calls went on."""
    (found,) = told(no_circuit_breaker, subject(call(7, breaker=BREAKER), traces=DOWN))
    assert found.verdict is Verdict.SUSPECT
    assert "did not open" in found.message


def test_a_loop_is_an_error_when_traces_show_many_turns() -> None:
    """Twenty at the 95th percentile; the code alone is a warning."""
    looped = call(7, loop=Loop(Place(FILE, 7), "items", varies=True))
    (found,) = told(chatty, subject(looped, traces=MANY))
    assert (found.severity, found.place) == (Severity.ERROR, Place(FILE, 7))
    assert by_trace(found) == [Place("t.jsonl", 4)]
