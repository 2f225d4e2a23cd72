"""A strangled route on Envoy: which of its requests go where, and where Envoy counts them.

    safe        a share `sample` to the engine behind, which compares; the rest by weight
    unsafe      to the owner, or by weight; while ownership is handed over, to the engine behind, which holds them

Control and candidate have clusters of their own for each route, and for unsafe requests apart, so that Envoy's statistics of a
cluster are those of one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeGuard

from skerry.gateway.envoy.values import fingerprint
from skerry.gateway.model import METHODS, SAFE, Action, Backend, Forward, GatewaySpec, HeaderEdit, Route

PREFIX: Final = "strangled~"
"""How the names of these clusters, and of their statistics, begin."""
OR_CONTROL: Final = "~or-control"
"""How the name of that cluster ends which is the candidate first, and the control when that fails."""
TOTAL: Final = 999_983
"""The sum of both weights. It stays the same, so that the same hash of a header or cookie means the same side. It is a prime, for
Envoy takes one random number for both, whether a request is one of the sample and which side it goes to: of a number of which it
knows the remainder by a million, it can still be any by this one.
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """A strangled route, and what the statistics of its clusters are called: by `PREFIX` and `key`."""

    route: str
    key: str
    weighed: bool
    """Whether unsafe requests go by weight, and so are evidence as well."""
    held: bool
    """Whether unsafe requests wait."""

    def evidence(self, *, candidate: bool) -> tuple[str, ...]:
        """Clusters whose requests tell how good a side is: with `weighed`, those of unsafe ones as well."""
        read = cluster(self.key, candidate=candidate, unsafe=False)
        first = (read, f"{read}{OR_CONTROL}") if candidate else (read,)
        return (*first, cluster(self.key, candidate=candidate, unsafe=True)) if self.weighed else first

    def written(self) -> tuple[str, str]:
        """Those for unsafe requests, of control and candidate."""
        return cluster(self.key, candidate=False, unsafe=True), cluster(self.key, candidate=True, unsafe=True)


@dataclass(frozen=True, slots=True)
class Split:
    """Some of a route's requests, by their method (None: all others). `backends` with the clusters that they have here, first the
    candidate; none: the embedded engine behind. `share` is that of these requests, 0 to 1, None: all.
    """

    methods: frozenset[str] | None
    backends: tuple[tuple[Backend, str], ...] = ()
    share: float | None = None
    unsafe: bool = False


def is_strangled(action: Action) -> TypeGuard[Forward]:
    """Whether it is a strangled route's, with its shares of the moment in it."""
    return (
        isinstance(action, Forward)
        and len(action.backends) == 2
        and (action.strangle is not None or action.writes is not None)
    )


def counted(route: Route, action: Forward) -> Counted:
    """How it is counted."""
    return Counted(route.name, key(route, action), weighed=action.writes is None, held=action.hold > 0)


def key(route: Route, action: Forward) -> str:
    """Another one for another route, or other services, so that nothing is counted as theirs that is not."""
    return fingerprint(route.name, *(backend.service for backend in action.backends))


def cluster(of: str, *, candidate: bool, unsafe: bool) -> str:
    """The name of a cluster."""
    return f"{PREFIX}{of}~{'candidate' if candidate else 'control'}{'~unsafe' if unsafe else ''}"


def sides(route: Route, action: Forward, *, unsafe: bool) -> list[tuple[str, str]]:
    """Both services with their clusters, which are there whether something goes to them or not: what was counted stays."""
    services = [backend.service for backend in action.backends]
    of = key(route, action)
    return [
        (service, cluster(of, candidate=service == services[1], unsafe=unsafe))
        for service in services
        if service is not None
    ]


def falls_back(action: Forward) -> bool:
    """Whether safe requests that the candidate fails are asked of the control: not where that no longer has what was written."""
    return not _owned_by_candidate(action)


def splits(route: Route, action: Forward, methods: frozenset[str] | None) -> list[Split]:
    """The requests of these methods (None: all), the first that fits counts."""
    named = methods if methods is not None else frozenset(METHODS)
    safe, unsafe = named & SAFE, named - SAFE
    of = key(route, action)
    found = []
    if compared := _compared(action, safe, unsafe):
        assert action.strangle is not None
        assert action.strangle.shadow is not None
        found.append(Split(compared, share=action.strangle.shadow.sample))
    if safe:
        found.append(Split(safe, _sides(of, action.backends, action, unsafe=False)))
    if unsafe:
        rest = unsafe if methods is not None else None
        if action.hold > 0:
            found.append(Split(rest, unsafe=True))
        else:
            chosen = action.backends if action.writes is None else action.writes
            found.append(Split(rest, _sides(of, chosen, action, unsafe=True), unsafe=True))
    return found


def behind(route: Route, action: Forward) -> Route:
    """The same route as the embedded engine behind has it: what comes to it is compared, and held while it has to be.

    Envoy has edited the route's headers already, and looked at rates and CORS. The sample is no evidence of a side, for its times
    are those of another engine, and it is the control's alone; unless it is all that there is.
    """
    plan = action.strangle
    if plan is not None:
        plan = replace(plan, counted=plan.shadow is not None and plan.shadow.sample >= 1)
    if plan is not None and _owned_by_candidate(action):
        action = replace(action, strangle=plan)
    elif plan is not None:
        control, candidate = action.backends
        shadow = None if plan.shadow is None else replace(plan.shadow, sample=1.0)
        both = (replace(control, weight=1), replace(candidate, weight=0))
        action = replace(action, strangle=replace(plan, shadow=shadow), backends=both)
    empty = HeaderEdit()
    return replace(route, action=action, request_headers=empty, response_headers=empty)


def uncompared(spec: GatewaySpec) -> GatewaySpec:
    """The same without a sample, for while nobody is there to compare it."""
    return replace(spec, routes=tuple(_uncompared(route) for route in spec.routes))


def _uncompared(route: Route) -> Route:
    action = route.action
    if not isinstance(action, Forward) or action.strangle is None or action.strangle.shadow is None:
        return route
    return replace(route, action=replace(action, strangle=replace(action.strangle, shadow=None)))


def _compared(action: Forward, safe: frozenset[str], unsafe: frozenset[str]) -> frozenset[str]:
    """Methods of which a share is compared: unsafe ones only for a candidate without side effects, by the control's answer."""
    plan = action.strangle
    if plan is None or plan.shadow is None or not plan.shadow.sample or _owned_by_candidate(action):
        return frozenset()
    return safe | unsafe if plan.shadow.harmless and not action.hold else safe


def _owned_by_candidate(action: Forward) -> bool:
    second = action.backends[1].service
    return action.writes is not None and any(backend.service == second for backend in action.writes)


def _sides(of: str, backends: Sequence[Backend], action: Forward, *, unsafe: bool) -> tuple[tuple[Backend, str], ...]:
    """Those that get something. First the candidate: its part of all hashes grows with its weight, and who has it keeps it."""
    second = action.backends[1].service
    total = sum(backend.weight for backend in backends)
    candidate = sum(backend.weight for backend in backends if backend.service == second)
    grown = round(TOTAL * candidate / total) if total else 0
    found = []
    for backend in sorted(backends, key=lambda backend: backend.service != second):
        if weight := grown if backend.service == second else TOTAL - grown:
            name = cluster(of, candidate=backend.service == second, unsafe=unsafe)
            found.append((replace(backend, weight=weight), name))
    return tuple(found)
