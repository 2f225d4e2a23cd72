"""The rule sync-chain: which hops count, how many are too many, and what traces add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from skerry.architecture.code.facts import Call, Code, Kind, Role, Route
from skerry.architecture.model import Edge, Evidence, Service, Source, SystemModel
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.sync_chain import sync_chain
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span, SpanKind, Traces


class Nothing:
    sizes: Mapping[str, int] = {}
    skipped = ()

    def read(self, path: str) -> bytes:
        raise KeyError(path)


def model_of(*edges: str, roles: dict[str, str] | None = None, unknown: tuple[Evidence, ...] = ()) -> SystemModel:
    """`a>b` for a wait, `a~b` for a message."""
    names = sorted({name for edge in edges for name in edge.replace("~", ">").split(">")})
    seen = (Evidence("seen", Source.CODE, Place("x.py", 1)),)
    return SystemModel(
        services={
            name: Service(name=name, roots=(name,), role=(roles or {}).get(name, "service"), evidence=seen)
            for name in names
        },
        edges=tuple(Edge(caller=edge[0], callee=edge[2], waits=">" in edge, evidence=seen) for edge in sorted(edges)),
        unknown=unknown,
    )


def findings(model: SystemModel, code: Code | None = None, traces: Traces | None = None) -> list[Finding]:
    return list(sync_chain.check(Subject(files=Nothing(), code=code or Code(), model=model, traces=traces)))


@pytest.mark.parametrize(
    ("edges", "severity"),
    [(("a>b", "b>c", "c>d"), Severity.WARNING), (("a>b", "b>c", "c>d", "d>e"), Severity.ERROR)],
)
def test_three_hops_are_a_warning_and_four_an_error(edges: tuple[str, ...], severity: Severity) -> None:
    """The chain is told from its first service to its last, once."""
    (found,) = findings(model_of(*edges))
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, severity)
    assert found.services == tuple("abcde"[: len(edges) + 1])


@pytest.mark.parametrize(
    "edges",
    [
        ("a>b", "b>c"),
        ("a>b", "a>c", "a>d", "a>e"),
        ("a>b", "b>c", "c~d", "d>e"),
        ("a>b", "b>a"),
    ],
    ids=["two hops", "a fan is width", "a message ends the waiting", "a circle ends where it began"],
)
def test_what_is_short_is_clean(edges: tuple[str, ...]) -> None:
    """Clean says how long the longest chain is."""
    (found,) = findings(model_of(*edges))
    assert found.verdict is Verdict.CLEAN
    assert "longest chain" in found.message
    assert found.evidence


@pytest.mark.parametrize("role", ["gateway", "frontend", "job"])
def test_what_stands_in_front_does_not_count(role: str) -> None:
    """A gateway hands on what others have to answer anyway."""
    (found,) = findings(model_of("a>b", "b>c", "c>d", roles={"a": role}))
    assert found.verdict is Verdict.CLEAN


def call(caller: str, callee: str, path: str, function: str, role: Role = Role.REQUEST) -> Edge:
    made = Call(place=Place(f"{caller}/app.py", 5), function=function, library="httpx", kind=Kind.HTTP,
                operation="GET", path=path, role=role)  # fmt: skip
    return Edge(caller=caller, callee=callee, waits=True, calls=(made,), evidence=(Evidence("x", Source.CODE),))


def answered(service: str, path: str, function: str) -> Route:
    return Route(place=Place(f"{service}/app.py", 1), function=function, kind=Kind.HTTP, method="GET", path=path)


def linked(path: str, role: Role = Role.REQUEST) -> tuple[SystemModel, Code]:
    """a asks `path` of b, whose function `far` asks c, whose route asks d."""
    services = {name: Service(name=name, roots=(name,)) for name in "abcd"}
    edges = (call("a", "b", path, "start"), call("b", "c", "/c", "far", role), call("c", "d", "/d", "c"))
    routes = (answered("b", "/far", "far"), answered("b", "/near", "near"), answered("c", "/c", "c"))
    return SystemModel(services=services, edges=edges), Code(routes=routes)


def test_a_chain_goes_through_the_route_that_is_asked() -> None:
    """What the asked route calls is waited for."""
    (found,) = findings(*linked("/far"))
    assert (found.verdict, found.services) == (Verdict.VIOLATION, ("a", "b", "c", "d"))


def test_a_call_behind_another_route_is_no_part_of_the_chain() -> None:
    """Service b calls c, and the route that a asks does not."""
    (found,) = findings(*linked("/near"))
    assert found.verdict is Verdict.CLEAN


def test_a_method_that_no_route_is_seen_to_reach_may_be_reached_by_any() -> None:
    """Objects are handed in by frameworks; a function that nothing calls is dead, a method may not be."""
    model, code = linked("/near")
    edges = (model.edges[0], call("b", "c", "/c", "Client.far"), model.edges[2])
    (found,) = findings(replace(model, edges=edges), code)
    assert found.verdict is Verdict.VIOLATION
    (found,) = findings(replace(model, edges=(model.edges[0], call("b", "c", "/c", "dead"), model.edges[2])), code)
    assert found.verdict is Verdict.CLEAN


def test_a_job_makes_no_request_wait() -> None:
    """What a worker asks, no user waits for."""
    (found,) = findings(*linked("/far", Role.JOB))
    assert found.verdict is Verdict.CLEAN


def test_addresses_that_are_not_known_are_no_pass() -> None:
    """With services enough for a chain, a call that leads nobody knows where makes it unknown."""
    missing = (Evidence("a: where PEER_URL leads is not said in any manifest", Source.CODE, Place("a/app.py", 3)),)
    (found,) = findings(model_of("a>b", "c>d", unknown=missing))
    assert found.verdict is Verdict.UNKNOWN
    assert found.evidence == missing


def test_services_whose_code_is_not_read_are_no_pass() -> None:
    """What a service in another language calls is seen in traces alone."""
    model = model_of("a>b", "c~d")
    services = {**model.services, "b": replace(model.services["b"], language="go")}
    (found,) = findings(replace(model, services=services))
    assert (found.verdict, found.services) == (Verdict.UNKNOWN, ("b",))
    (found,) = findings(replace(model, services=services), traces=traced("a", "b"))
    assert found.verdict is Verdict.CLEAN


def traced(*services: str, kind: SpanKind = SpanKind.SERVER) -> Traces:
    spans = tuple(
        Span(trace="t", span=str(i), parent=str(i - 1) if i else "", service=name, name="x", kind=kind, start=0.0,
             end=1.0, error=False, attributes={}, file="t.jsonl", line=i + 1)
        for i, name in enumerate(services)
    )  # fmt: skip
    return Traces(traces={"t": spans})


def test_traces_show_a_chain_that_code_does_not() -> None:
    """It is told with the number of traces that went that way."""
    (found,) = findings(model_of("a>b", "c>d"), traces=traced("a", "b", "c", "d"))
    assert (found.verdict, found.services) == (Verdict.VIOLATION, ("a", "b", "c", "d"))
    assert "1 of 1 traces" in found.message


def test_traces_confirm_a_chain_of_the_code() -> None:
    """One finding, with both kinds of evidence."""
    (found,) = findings(model_of("a>b", "b>c", "c>d"), traces=traced("a", "b", "c", "d"))
    assert "1 of 1 traces went all the way" in found.message


def test_messages_in_traces_end_the_waiting() -> None:
    """A consumer begins anew."""
    (found,) = findings(model_of("a>b"), traces=traced("a", "b", "c", "d", kind=SpanKind.CONSUMER))
    assert found.verdict is Verdict.CLEAN
