"""The model for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.architecture.model import Edge, Evidence, Service, SystemModel

MAX_UNKNOWN = 20


def as_text(model: SystemModel, *, unparsed: int = 0) -> str:
    """Services with what they keep and whom they reach, each line with its place."""
    return _plain("\n".join(_lines(model, unparsed)))


def _lines(model: SystemModel, unparsed: int) -> Iterator[str]:
    waits = sum(edge.waits for edge in model.edges)
    stores = sum(not store.broker for store in model.stores.values())
    yield (
        f"{_count(len(model.services), 'service')}, {_count(stores, 'database')}, "
        f"{_count(waits, 'call')} that wait, {_count(len(model.edges) - waits, 'flow')} of messages"
    )
    for service in model.services.values():
        yield ""
        yield from _service(service, model)
    if model.externals:
        yield ""
        yield f"outside: {', '.join(model.externals)}"
    if model.unknown:
        yield ""
        yield "not known:"
        for each in model.unknown[:MAX_UNKNOWN]:
            yield f"  {each.text}{_place((each,))}"
        if len(model.unknown) > MAX_UNKNOWN:
            yield f"  and {len(model.unknown) - MAX_UNKNOWN} more"
    if unparsed:
        yield ""
        yield f"unparsed: {_count(unparsed, 'file')}"


def _service(service: Service, model: SystemModel) -> Iterator[str]:
    kind = "" if service.role == "service" else f" [{service.role}]"
    size = f", {service.lines:,} lines" if service.lines else ""
    where = ", ".join(root or "." for root in service.roots)
    yield f"{service.name}{kind}{'  ' + where if where else ''}{size}{_place(service.evidence)}"
    names = {work.name for work in service.workloads}
    if len(names) > 1:
        yield f"  runs as {', '.join(sorted(names))}"
    for use in model.uses:
        if use.service == service.name:
            tables = f"; writes {', '.join(sorted(use.writes))}" if use.writes else ""
            yield f"  keeps data in {use.store}{tables}{_place(use.evidence)}"
    for edge in model.edges:
        if edge.caller == service.name:
            yield f"  {_reach(edge)}{_place(edge.evidence)}"
    for guard in model.guarded.get(service.name, ()):
        yield f"  guarded: {guard.text}{_place((guard,))}"


def _reach(edge: Edge) -> str:
    seen = edge.observed
    often = f", seen {seen.count} times, p99 {seen.p99 * 1000:.0f} ms" if seen else ""
    if edge.waits:
        return f"waits for {edge.callee} ({edge.protocol}{often})"
    return f"sends {edge.topic or 'messages'} to {edge.callee}{often}"


def _place(evidence: tuple[Evidence, ...]) -> str:
    place = next((each.place for each in evidence if each.place), None)
    return f"  {place}" if place else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _plain(text: str) -> str:
    """Without what a terminal would obey: names came from the repository that was read."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)
