"""NEVER let a request wait for a chain of services."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.facts import Call, Role, Route
from skerry.architecture.model import Edge, Evidence, Source
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict, counted
from skerry.architecture.rules.waited import PASSING, chains, part

WARN_HOPS: Final = 3
ERROR_HOPS: Final = 4
MAX_HOPS: Final = 64
"""Services of one chain that are followed."""
MAX_STEPS: Final = 200_000
"""Edges that are tried in the search for the longest chain; a system with more is reported as far as it was followed."""


@dataclass(frozen=True, slots=True)
class _Chain:
    services: tuple[str, ...]
    edges: tuple[Edge, ...]
    calls: tuple[Call | None, ...]

    @property
    def hops(self) -> int:
        return len(self.services) - 1


class SyncChain:
    """A service waits for a second, it for a third, and it for a fourth. A gateway in front does not count."""

    name = "sync-chain"
    why = (
        "Each hop adds its time and its failures: four services that are each up 99.9 % of the time are up together 99.6 %, "
        "and the slowest of them sets the pace. One that hangs makes all those before it hang."
    )
    fix = (
        "Shorten the chain where the answer need not be fresh: keep a local copy that events feed (skerry: `@service.on`, "
        "projections), or let the last part happen later (outbox and saga; else any broker). Two services that always "
        "answer together may be one. Until then pass one deadline along (skerry: `deadline`)."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        static = _longest(subject)
        seen, traces = chains(subject.traces, subject.model) if subject.traces else (Counter(), 0)
        reported: set[tuple[str, ...]] = set()
        for chain in static:
            if chain.hops >= WARN_HOPS:
                reported.add(chain.services)
                yield self._static(chain, seen.get(chain.services, 0), traces)
        for services, count in sorted(seen.items()):
            known = any(part(services, other) for other in reported)
            longer = any(services != other and part(services, other) for other in seen)
            if len(services) > WARN_HOPS and not known and not longer:
                reported.add(services)
                yield self._runtime(services, count, traces, subject)
        if not reported:
            yield self._clean(subject, static, traces)

    def _static(self, chain: _Chain, count: int, traces: int) -> Finding:
        evidence = []
        for edge, call in zip(chain.edges, chain.calls, strict=True):
            if call is not None:
                text = f"{edge.caller} waits for {edge.callee}: {call.operation} {call.path}".rstrip()
                evidence.append(Evidence(text, Source.CODE, call.place))
            else:
                evidence += edge.evidence[:1]
        more = f"; {count} of {traces} traces went all the way" if traces else ""
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if chain.hops >= ERROR_HOPS else Severity.WARNING,
            services=chain.services,
            message=f"a request waits through {chain.hops} hops: {' -> '.join(chain.services)}{more}",
            place=next((each.place for each in evidence if each.place), None),
            evidence=tuple(evidence),
            key="/".join(chain.services),
        )

    def _runtime(self, services: tuple[str, ...], count: int, traces: int, subject: Subject) -> Finding:
        pairs = set(itertools.pairwise(services))
        evidence = tuple(
            each
            for edge in subject.model.edges
            if edge.waits and (edge.caller, edge.callee) in pairs
            for each in edge.evidence[-1:]
        )
        hops = len(services) - 1
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if hops >= ERROR_HOPS else Severity.WARNING,
            services=services,
            message=f"in {count} of {traces} traces a request waited through {hops} hops: {' -> '.join(services)}",
            place=next((each.place for each in evidence if each.place), None),
            evidence=evidence,
            key="/".join(services),
        )

    def _clean(self, subject: Subject, chains: list[_Chain], traces: int) -> Finding:
        edges = [edge for edge in subject.model.edges if edge.waits]
        longest = max(chains, key=lambda chain: chain.hops, default=None)
        unknown = [each for each in subject.model.unknown if " leads is not said" in each.text]
        services = [each for each in subject.model.services.values() if each.role != "job"]
        if unknown and len(services) > WARN_HOPS:
            text = f"where {counted(len(unknown), 'call')} may lead no manifest says, so the longest chain is not known"
            return Finding(
                rule=self.name, verdict=Verdict.UNKNOWN, message=text, evidence=tuple(unknown), key="unresolved"
            )
        foreign = tuple(
            each.name for each in services if each.role == "service" and each.language not in {"", "python"}
        )
        if foreign and not traces and len(services) > WARN_HOPS:
            text = (
                f"the code of {', '.join(foreign)} is not Python, so whom they wait for is not read: give traces; "
                f"the longest chain that is seen has {counted(longest.hops if longest else 0, 'hop')}"
            )
            evidence = tuple(each for edge in (longest.edges if longest else ()) for each in edge.evidence[:1])
            return Finding(
                rule=self.name,
                verdict=Verdict.UNKNOWN,
                message=text,
                services=foreign,
                evidence=evidence,
                key="unread",
            )
        way = f": {' -> '.join(longest.services)}" if longest else ""
        text = (
            f"{counted(len(edges), 'edge')} waited on; "
            f"the longest chain has {counted(longest.hops if longest else 0, 'hop')}{way}"
        )
        if traces:
            text += f"; none of {traces} traces shows a longer one"
        evidence = tuple(each for edge in (longest.edges if longest else ()) for each in edge.evidence[:1])
        if not evidence:
            evidence = tuple(each for service in services for each in service.evidence[:1])
        return Finding(rule=self.name, verdict=Verdict.CLEAN, message=text, evidence=evidence)


sync_chain: SyncChain = SyncChain()


def _longest(subject: Subject) -> list[_Chain]:
    """The longest chain from each service that none of the others contains, longest first."""
    search = _Search(subject)
    found = sorted(
        (search.run(name) for name in subject.model.services), key=lambda chain: (-chain.hops, chain.services)
    )
    kept: list[_Chain] = []
    for chain in found:
        if chain.hops and not any(
            part(chain.services, other.services) or chain.services[-2:] == other.services[-2:] for other in kept
        ):
            kept.append(chain)
    return kept


class _Search:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._steps = 0
        self._answered: dict[tuple[str, int], list[Route] | None] = {}
        """By the callee and the call's identity: the same is asked on every way that leads there."""
        self._known: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._unions: dict[str, frozenset[tuple[str, str]]] = {}
        self._from: dict[str, list[Edge]] = defaultdict(list)
        for edge in subject.model.edges:
            caller = subject.model.services.get(edge.caller)
            if edge.waits and caller is not None and caller.role not in PASSING:
                self._from[edge.caller].append(edge)
        self._routes: dict[str, list[Route]] = defaultdict(list)
        for route in subject.code.routes:
            owner = subject.model.service_of(route.place.file)
            if owner is not None:
                self._routes[owner].append(route)

    def run(self, start: str) -> _Chain:
        return self._extend(_Chain((start,), (), ()), None)

    def _extend(self, chain: _Chain, entered: list[Route] | None) -> _Chain:
        """The longest way on. `entered` are the routes by which the last service was asked; None: any."""
        best = chain
        if len(chain.services) > MAX_HOPS:
            return best
        for edge in self._from.get(chain.services[-1], []):
            self._steps += 1
            if edge.callee in chain.services or self._steps > MAX_STEPS:
                continue
            calls: list[Call | None] = [
                call for call in edge.calls if call.role is Role.REQUEST and self._led(call, entered)
            ]
            if not edge.calls:
                calls = [None]
            for call in calls[:20]:
                onward = _Chain((*chain.services, edge.callee), (*chain.edges, edge), (*chain.calls, call))
                longest = self._extend(onward, self._asked(edge.callee, call))
                best = max(best, longest, key=lambda each: each.hops)
        return best

    def _led(self, call: Call, entered: list[Route] | None) -> bool:
        """Whether one of the routes leads to the call."""
        if not entered:
            return True
        wanted = (call.place.file, call.function)
        if wanted in self._reached_by(f"{id(entered)}", entered):
            return True
        # a method of an object that is handed in: where no route is seen to lead to it, any may
        owner = self._subject.model.service_of(call.place.file) or ""
        return "." in call.function and wanted not in self._reached_by(owner, self._routes.get(owner, []))

    def _reached_by(self, key: str, routes: list[Route]) -> frozenset[tuple[str, str]]:
        """All functions that some routes lead to. `key` stands for the routes, which are asked for on many ways."""
        if key not in self._unions:
            starts = {(route.place.file, route.function) for route in routes}
            self._unions[key] = frozenset(each for start in starts for each in self._reached(start))
        return self._unions[key]

    def _reached(self, start: tuple[str, str]) -> set[tuple[str, str]]:
        if start not in self._known:
            self._known[start] = self._followed(start)
        return self._known[start]

    def _followed(self, start: tuple[str, str]) -> set[tuple[str, str]]:
        seen, waiting = {start}, [start]
        while waiting and len(seen) < 2_000:
            for each in self._subject.code.reaches.get(waiting.pop(), ()):
                if each not in seen:
                    seen.add(each)
                    waiting.append(each)
        return seen

    def _asked(self, callee: str, call: Call | None) -> list[Route] | None:
        """The routes of the callee that a call means; None where that is not known."""
        if call is None:
            return None
        key = (callee, id(call))
        if key not in self._answered:
            self._answered[key] = [route for route in self._routes.get(callee, []) if _answers(route, call)] or None
        return self._answered[key]


def _answers(route: Route, call: Call) -> bool:
    if route.kind is not call.kind:
        return False
    if not call.path:
        return bool(call.operation) and route.function.rpartition(".")[2] == call.operation
    ours, theirs = route.path.strip("/").split("/"), call.path.partition("?")[0].strip("/").split("/")
    same = len(ours) == len(theirs) and all(a == b or "{" in a or "{" in b for a, b in zip(ours, theirs, strict=True))
    return same and route.method.upper() in {"", "*", call.operation.upper()}
