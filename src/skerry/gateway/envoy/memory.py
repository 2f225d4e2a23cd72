"""What was compiled before, for a change that leaves most routes as they were: of a hundred, mostly one is another.

A route is known by its identity: who reads a specification again gives back the same objects for what is the same
(`skerry.gateway.reading.Reader`). What compiling it did besides, such as naming clusters and telling differences, is done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.protections import Protections
from skerry.gateway.envoy.upstreams import Upstreams
from skerry.gateway.envoy.values import Plain
from skerry.gateway.model import Addresses, GatewaySpec, Route

Key = tuple[int, int, bool]


@dataclass(slots=True)
class Besides:
    """What the compiling of a route did to others: clusters, filters that are used, requirements of tokens, differences."""

    clusters: dict[str, Plain] = field(default_factory=dict[str, Plain])
    used: set[str] = field(default_factory=set[str])
    requirements: dict[str, Plain] = field(default_factory=dict[str, Plain])
    differences: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])

    def repeat(self, upstreams: Upstreams, protections: Protections, notes: Notes) -> None:
        """Do it again."""
        for name, cluster in self.clusters.items():
            upstreams.clusters.setdefault(name, cluster)
        protections.used |= self.used
        protections.requirements |= self.requirements
        notes.join(self.differences)


@dataclass(frozen=True, slots=True)
class Made:
    """A match of a route, compiled. `route` is held, so that nothing else gets its identity."""

    route: Route
    routes: list[Plain]
    besides: Besides


class Memory:
    """Of one gateway: the routes of its last compiling, and those of the present one."""

    def __init__(self) -> None:
        self._around: object = None
        self._before: dict[Key, Made] = {}
        self._now: dict[Key, Made] = {}

    def begin(self, spec: GatewaySpec, addresses: Addresses, behind: str) -> None:
        """Forget all when something is another that a route's form depends on beside the route itself."""
        around = (spec.services, spec.providers, spec.limits, spec.trusted_hops, spec.source, dict(addresses), behind)
        if around != self._around:
            self._around, self._before = around, {}
        self._now = {}

    def end(self) -> None:
        """What was compiled, without an error, is what is known from now on."""
        self._before, self._now = self._now, {}

    def of(self, route: Route, match: int, *, tls: bool) -> Made | None:
        """What a match of it became."""
        key = (id(route), match, tls)
        if (made := self._before.get(key)) is not None:
            self._now[key] = made
        return made

    def keep(self, route: Route, match: int, routes: list[Plain], besides: Besides, *, tls: bool) -> Made:
        """Remember it."""
        made = self._now[id(route), match, tls] = Made(route, routes, besides)
        return made


@contextmanager
def recording(upstreams: Upstreams, protections: Protections, notes: Notes) -> Iterator[Besides]:
    """Notes what is done to these."""
    found = Besides()
    touched, upstreams.touched = upstreams.touched, set()
    used, protections.used = protections.used, set()
    requirements, protections.requirements = protections.requirements, {}
    differences, notes.differences = notes.differences, {}
    try:
        yield found
    finally:
        found.clusters = {
            name: upstreams.clusters[name] for name in sorted(upstreams.touched) if name in upstreams.clusters
        }
        found.used, found.requirements = protections.used, protections.requirements
        found.differences = notes.differences
        upstreams.touched = touched
        protections.used, protections.requirements, notes.differences = used, requirements, differences
        found.repeat(upstreams, protections, notes)
