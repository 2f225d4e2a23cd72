"""What a system is by its file and its processes alone: who calls whom, and the sentence when nobody has heard anything more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from skerry.console.diagnosis import diagnose
from skerry.console.facts import EdgeFact, Facts, Kind, Sentence, ServiceFact, state_of, stopping_since
from skerry.topology import GATEWAY, System


def sentence_of(system: System, processes: Sequence[Mapping[str, Any]], *, now: float) -> Sentence:
    """The console's sentence from the processes of `skerry ps -o json` and the system's file, for where no console runs.

    Without a console nobody knows of requests, databases and sagas, so it says nothing of them.
    """
    facts: list[ServiceFact] = []
    for process in processes:
        name, since = str(process["name"]), process.get("since")
        kind: Kind = "gateway" if name == GATEWAY else "service" if name in system.services else "external"
        begun = since if isinstance(since, int | float) else None
        facts.append(ServiceFact(name=name, kind=kind, state=state_of(str(process["state"])), since=begun))
    calls = (EdgeFact(source=source, target=target) for source, target, kind in declared(system) if kind == "call")
    edges = (*calls, *below(system, [each.name for each in facts]))
    return diagnose(Facts(at=now, services=tuple(facts), edges=edges, stopping=stopping_since(processes)))


def declared(system: System) -> Iterator[tuple[str, str, str]]:
    """Calls and events as the system's file has them: from whom, to whom, and which of both."""
    if system.gateway is not None:
        for callee in system.gateway.calls:
            yield GATEWAY, callee, "call"
    for spec in system.services.values():
        for callee in spec.calls:
            yield spec.name, callee, "call"
        for topic in spec.subscribes:
            owner = system.topics[topic].owner if topic in system.topics else ""
            if owner and owner != spec.name:
                yield owner, spec.name, "event"


def below(system: System, running: Iterable[str]) -> Iterator[EdgeFact]:
    """What everybody stands on and nobody draws: started servers, and the sidecar beside a service."""
    running = list(running)
    for spec in system.services.values():
        if "postgresql" in running and spec.database is not None:
            yield EdgeFact(source=spec.name, target="postgresql")
        if "nats" in running and (spec.publishes or spec.subscribes):
            yield EdgeFact(source=spec.name, target="nats")
        for name in running:
            if name.startswith(f"{spec.name}-") and name not in system.services:
                yield EdgeFact(source=spec.name, target=name)
