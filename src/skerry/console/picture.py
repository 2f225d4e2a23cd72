"""The first screen, put together from all that is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.console.diagnosis import FAILING, diagnose
from skerry.console.facts import BreakerFact, EdgeFact, Facts, Kind, ServiceFact, State, state_of
from skerry.console.heard import Record, Span
from skerry.console.series import PARTS, PER, SLOT, Series
from skerry.console.sources import Sources
from skerry.console.standing import below, declared
from skerry.console.states import States
from skerry.console.stores import Stores
from skerry.console.told import Told
from skerry.console.window import Window
from skerry.topology.model import GATEWAY

QUIET: Final = 60.0
"""Seconds after which a service that nobody supervises, and that has told nothing since, is not known to be ready."""
_WORST: Final[Mapping[str, int]] = {"down": 0, "held": 1, "unready": 2, "starting": 4, "unknown": 6, "ready": 5}


class Picture:
    """Everything the console knows, and the view of it. Used by one event loop."""

    def __init__(self, sources: Sources, *, clock: Clock = SYSTEM) -> None:
        self.sources = sources
        self.window: Window = Window(clock=clock)
        self.told: Told = Told(self.window, clock=clock)
        self.states: States = States(self.told, clock=clock)
        opened = sources.open_store
        self.stores: Stores | None = (
            None if opened is None or not sources.stores else Stores(sources.stores, opened, clock=clock)
        )
        self._failing: dict[str, float] = {}
        self._clock = clock

    def add_spans(self, spans: list[Span]) -> None:
        """Take spans in."""
        self.window.add(spans)

    def add_records(self, records: list[Record]) -> None:
        """Take log records in."""
        self.told.add(records)

    def facts(self) -> Facts:
        """What the sentence is worked out from."""
        topology = self.sources.topology
        return Facts(
            at=self._clock.now(),
            services=tuple(self._services()),
            edges=(*self._edges(), *(below(topology, self.states.names()) if topology else ())),
            breakers=tuple(self.told.breakers.values()),
            outboxes=() if self.stores is None else self.stores.outboxes(),
            sagas=None if self.stores is None else self.stores.sagas(),
            dead=None if self.stores is None else self.stores.dead(),
            stopping=self.states.stopping,
        )

    def view(self) -> dict[str, Any]:
        """The first screen, all but its version."""
        facts = self.facts()
        sagas = facts.sagas
        services = [self._service(each, facts) for each in facts.services]
        breakers = self.told.towards()
        services.sort(key=lambda one: (_rank(one), one["name"]))
        return {
            "at": facts.at,
            "system": self.sources.system,
            "sentence": diagnose(facts).as_dict(),
            "strip": {
                "breakers": [
                    {"service": one.service, "policy": one.policy, "state": one.state, "since": one.since}
                    for one in facts.breakers
                ],
                "outboxes": [{"service": o.service, "rows": o.rows, "oldest": o.oldest} for o in facts.outboxes],
                "sagas": {
                    "running": sagas.running if sagas else 0,
                    "compensating": sagas.compensating if sagas else 0,
                    "stuck": sagas.stuck if sagas else 0,
                },
            },
            "services": services,
            "edges": [self._edge(edge, facts, breakers) for edge in self._edges()],
            "changes": [change.as_dict() for change in self.told.changes()],
            "people": list(self._people()),
        }

    def service(self, name: str) -> dict[str, Any] | None:
        """One service with all that is known of it; None when nobody has heard of it."""
        view = self.view()
        found = next((one for one in view["services"] if one["name"] == name), None)
        if found is None:
            return None
        look = None if self.stores is None else self.stores.looks.get(name)
        topology = self.sources.topology
        spec = None if topology is None else topology.services.get(name)
        now, series = self._clock.now(), self.window.services.get(name)
        return {
            **found,
            "slowness": [None] * PARTS if series is None else [_rounded(each) for each in series.slowness(now)],
            "step": PER * SLOT,
            "description": "" if spec is None else spec.description,
            "database": None if look is None else {"reached": look.reached, "since": look.since, "error": look.error},
            "edges": [edge for edge in view["edges"] if name in {edge["from"], edge["to"]}],
            "breakers": [one for one in view["strip"]["breakers"] if name in {one["service"], one["policy"]}],
            "changes": [change for change in view["changes"] if change["service"] == name],
            "people": [one for one in view["people"] if one["service"] == name],
            "traces": self.window.traces(service=name, limit=20),
        }

    def _names(self) -> dict[str, Kind]:
        """Everybody, in the order of the system's file, then as they were heard of."""
        found: dict[str, Kind] = {}
        topology = self.sources.topology
        if topology is not None:
            if topology.gateway is not None:
                found[GATEWAY] = "gateway"
            found.update(dict.fromkeys(topology.services, "service"))
        for name in self.states.names():
            found.setdefault(name, "gateway" if name == GATEWAY else "external")
        for name in self.window.answering:
            found.setdefault(name, "gateway" if name == GATEWAY else "service")
        for name in self.told.states:
            found.setdefault(name, "service")
        for source, target, _ in self.window.edges:
            found.setdefault(source, "external")
            found.setdefault(target, "external")
        return found

    def _services(self) -> Iterator[ServiceFact]:
        now = self._clock.now()
        for name, kind in self._names().items():
            rate, errors, failures = self._traffic(name, now)
            failing = self._failing_since(name, now, failing=bool(rate) and errors >= FAILING)
            state, since = self._state(name, now)
            look = None if self.stores is None else self.stores.looks.get(name)
            yield ServiceFact(
                name=name,
                kind=kind,
                state=state,
                since=since,
                rate=rate,
                errors=errors,
                failures=failures,
                flaps=self.states.flaps(name),
                store=None if look is None else look.reached,
                store_since=None if look is None else look.since,
                failing_since=failing,
            )

    def _traffic(self, name: str, now: float) -> tuple[float, float, int | None]:
        """Requests a second, the share and the number that fail; of somebody who tells nothing himself, as his callers saw it."""
        own = self.window.services.get(name)
        if own is not None and (found := own.lately(now))[0]:
            return found
        seen = [
            series.lately(now)
            for (_, target, kind), series in self.window.edges.items()
            if target == name and kind == "call" and target not in self.window.answering
        ]
        rate = sum(each for each, _, _ in seen)
        share = sum(each * errors for each, errors, _ in seen) / rate if rate else 0.0
        return rate, share, sum(failures for _, _, failures in seen) if seen or own is not None else None

    def _failing_since(self, name: str, now: float, *, failing: bool) -> float | None:
        if failing:
            return self._failing.setdefault(name, now)
        self._failing.pop(name, None)
        return None

    def _state(self, name: str, now: float) -> tuple[State, float | None]:
        """As the supervisor says; else as the service has told; else by whether it has been heard of at all."""
        known = self.states.get(name)
        if known is not None and known.state != "unknown":
            return known.state, known.since
        if name in self.told.states:
            word, at = self.told.states[name]
            return state_of(word), at
        series = self.window.services.get(name)
        if series is not None and name in self.window.answering and now - series.heard <= QUIET:
            return "ready", None
        return "unknown", None

    def _edges(self) -> list[EdgeFact]:
        """Those that were declared and those that were seen, each once."""
        now, topology = self._clock.now(), self.sources.topology
        known = declared(topology) if topology else ()
        found = {key: EdgeFact(source=key[0], target=key[1], kind=key[2]) for key in known}  # type: ignore[arg-type]
        for (source, target, kind), series in self.window.edges.items():
            rate, errors, failures = series.lately(now)
            found[source, target, kind] = EdgeFact(
                source=source,
                target=target,
                kind=kind,  # type: ignore[arg-type]
                rate=rate,
                errors=errors,
                failures=failures,
            )
        return list(found.values())

    def _service(self, fact: ServiceFact, facts: Facts) -> dict[str, Any]:
        now = facts.at
        series = self.window.services.get(fact.name)
        retries, shed = (0.0, 0.0) if series is None else series.noted(now)
        outbox = next((one for one in facts.outboxes if one.service == fact.name), None)
        return {
            "name": fact.name,
            "kind": fact.kind,
            "state": fact.state,
            "since": fact.since,
            "rate": round(fact.rate, 2),
            "errors": round(fact.errors, 4),
            "p95": _rounded(None if series is None else series.p95(now)),
            "retries": round(retries, 2),
            "shed": round(shed, 2),
            "outbox": None if outbox is None else {"rows": outbox.rows, "oldest": _rounded(outbox.oldest)},
            "history": [None] * PARTS if series is None else series.history(now),
            "traffic": self._requests(fact.name, now),
        }

    def _requests(self, name: str, now: float) -> list[float | None]:
        """Requests a second in each part of a history, from when the service was seen or heard of first."""
        series, process = self.window.services.get(name) or Series(math.inf), self.states.get(name)
        since = series.begun if process is None else min(series.begun, process.first)
        return [None if each is None else round(each, 2) for each in series.traffic(now, since=since)]

    def _edge(self, edge: EdgeFact, facts: Facts, breakers: Mapping[tuple[str, str], BreakerFact]) -> dict[str, Any]:
        series = self.window.edges.get((edge.source, edge.target, edge.kind))
        breaker = breakers.get((edge.source, edge.target)) if edge.kind == "call" else None
        return {
            "from": edge.source,
            "to": edge.target,
            "kind": edge.kind,
            "rate": round(edge.rate or 0.0, 2),
            "errors": round(edge.errors, 4),
            "p95": _rounded(None if series is None else series.p95(facts.at)),
            "breaker": None if breaker is None else breaker.state,
            "lag": self.told.lag(edge.target) if edge.kind == "event" else None,
        }

    def _people(self) -> Iterator[dict[str, Any]]:
        """What waits for a person, sagas before letters, those that wait longest first."""
        looks = [] if self.stores is None else list(self.stores.looks.values())
        stuck = [(saga.changed_at, look.service, saga) for look in looks for saga in look.stuck_sagas]
        for since, service, saga in sorted(stuck, key=lambda one: one[0]):
            yield {
                "kind": "saga",
                "service": service,
                "id": saga.id,
                "title": f"{saga.name} {saga.key} is stuck",
                "detail": saga.reason,
                "since": since,
                "actions": ["retry", "skip", "resolve"],
            }
        dead = [(letter.parked_at, look.service, letter) for look in looks for letter in look.letters]
        for since, service, letter in sorted(dead, key=lambda one: one[0]):
            behind = f"; {letter.held} wait behind it" if letter.held else ""
            yield {
                "kind": "dead",
                "service": service,
                "id": letter.id,
                "title": f"{letter.type} of {letter.key} could not be handled",
                "detail": f"{letter.reason} ({letter.attempts} attempts{behind})",
                "since": since,
                "actions": ["replay", "drop"],
            }


def _rank(service: Mapping[str, Any]) -> tuple[int, float]:
    """Worst first: by state, a service that fails before one that is ready; then by how much fails."""
    failing = bool(service["rate"]) and service["errors"] >= FAILING
    state = 3 if failing and service["state"] in {"ready", "unknown"} else _WORST[service["state"]]
    return state, -service["errors"]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
