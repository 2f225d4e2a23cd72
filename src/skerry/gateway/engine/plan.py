"""A specification made ready: what can be worked out before a request comes is worked out here.

What was counted survives a reload: breakers, limits, budgets and connections go on under the name of their route or address.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from bisect import bisect_right
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from skerry.clock import Clock
from skerry.context import EMPTY
from skerry.errors import ConfigurationError
from skerry.gateway.engine.access import NOWHERE
from skerry.gateway.engine.call import Call
from skerry.gateway.engine.guard import Guard
from skerry.gateway.engine.strangled import Strangled, StrangledCall
from skerry.gateway.engine.upstream import Cluster, Pool
from skerry.gateway.matching import Table
from skerry.gateway.model import (
    Addresses,
    Aggregate,
    Backend,
    BreakerSpec,
    Forward,
    GatewaySpec,
    HeaderEdit,
    PolicySpec,
    Rewrite,
    Route,
    Service,
    Sticky,
)
from skerry.gateway.rate import Limiter
from skerry.gateway.wire import canonical
from skerry.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, RetryBudget
from skerry.service.problem import Problem
from skerry.settings import variable_for

if TYPE_CHECKING:
    from skerry.gateway.aggregating import Aggregator, Connections
    from skerry.gateway.auth import Providers
    from skerry.gateway.engine.counting import Counting

Fields = list[tuple[bytes, bytes]]


class Edit:
    """A `HeaderEdit`, ready."""

    __slots__ = ("_add", "_gone")

    def __init__(self, edit: HeaderEdit) -> None:
        named = [*edit.remove, *(name for name, _ in edit.set)]
        self._gone = frozenset(name.lower().encode("latin-1") for name in named)
        self._add = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*edit.set, *edit.add)]

    def apply(self, fields: Fields) -> Fields:
        """The headers after it."""
        kept = [field for field in fields if field[0].lower() not in self._gone] if self._gone else fields
        return kept + self._add

    @classmethod
    def of(cls, *edits: HeaderEdit) -> tuple[Edit, ...]:
        """Those that do something."""
        return tuple(cls(edit) for edit in edits if edit != HeaderEdit())


@dataclass(slots=True)
class Target:
    """One backend of a route: its cluster (None: there is none), the breaker before it, and its own edits."""

    service: str
    cluster: Cluster | None
    breaker: CircuitBreaker | None
    request: tuple[Edit, ...]
    response: tuple[Edit, ...]
    shown: str = NOWHERE
    """What the access log says of it, up to the number of attempts."""


class Choice:
    """Which backend a request goes to."""

    __slots__ = ("_bounds", "_clock", "_targets", "only", "sticky")

    def __init__(self, targets: list[tuple[int, Target]], sticky: Sticky | None, clock: Clock) -> None:
        weighty = [(weight, target) for weight, target in targets if weight > 0]
        self._bounds = list(accumulate(weight for weight, _ in weighty))
        self._targets = [target for _, target in weighty]
        self.only: Target | None = self._targets[0] if len(self._targets) == 1 else None
        """The target of all requests, when there is only one."""
        self.sticky: Sticky | None = sticky
        """By what requests stay together."""
        self._clock = clock

    def pick(self, key: str | None) -> Target | None:
        """By `key` where the choice sticks to one, by weight else. None when nothing has a weight."""
        targets = self._targets
        if not targets:
            return None
        drawn = self._clock.random() if key is None else zlib.crc32(key.encode("utf-8", "replace")) / 2**32
        return targets[bisect_right(self._bounds, drawn * self._bounds[-1])]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A `Rewrite`, ready: its paths are canonical."""

    prefix: str | None
    full: str | None
    host: bytes | None

    @classmethod
    def of(cls, rewrite: Rewrite) -> Rewriting | None:
        """None when it changes nothing."""
        if rewrite == Rewrite():
            return None
        prefix = None if rewrite.prefix is None else canonical(rewrite.prefix.encode() or b"/")
        full = None if rewrite.full is None else canonical(rewrite.full.encode() or b"/")
        return cls(prefix, full, None if rewrite.host is None else rewrite.host.encode("ascii"))


@dataclass(slots=True)
class Plan:
    """One route, ready. `limit` bounds the requests at once, `budget` what is sent again."""

    route: Route
    policy: PolicySpec
    limit: Bulkhead | AdaptiveLimit
    budget: RetryBudget
    request: tuple[Edit, ...]
    response: tuple[Edit, ...]
    body: int
    choice: Choice | None = None
    rewrite: Rewriting | None = None
    guard: Guard | None = None
    aggregator: Aggregator | None = None
    mirrors: tuple[tuple[float, Target], ...] = ()
    timed: bool = False
    shown: str = ""
    """What the access log says of it."""
    call: type[Call] = Call
    """How its requests get to a service."""
    strangled: Strangled | None = None
    patience: bytes = b""
    """The header line that tells a service how long it has when nothing was lost yet."""
    told: bytes = b""
    """The header lines that tell a service what else holds for all requests of the route."""


@dataclass(slots=True)
class Runtime:
    """A whole gateway, ready: tables by listener, plans by their route's `id`."""

    spec: GatewaySpec
    tables: Mapping[str, Table]
    plans: Mapping[int, Plan]
    clusters: Mapping[str, Cluster]


@dataclass(slots=True)
class Workshop:
    """Makes runtimes, one after the other, and keeps what outlives them."""

    clock: Clock
    counting: Counting | None = None
    _pools: dict[tuple[str, Service], Pool] = field(default_factory=dict)
    _breakers: dict[tuple[str, str], tuple[BreakerSpec, CircuitBreaker]] = field(default_factory=dict)
    _limiters: dict[str, Limiter] = field(default_factory=dict)
    _providers: Providers | None = None
    _keeper: asyncio.Task[None] | None = None
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _connections: Connections | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _limits: dict[str, tuple[PolicySpec, Bulkhead | AdaptiveLimit, RetryBudget]] = field(default_factory=dict)

    def make(self, spec: GatewaySpec, addresses: Addresses) -> Runtime:
        """`spec` ready to be used. Raises `ConfigurationError`; then nothing has changed."""
        pools: dict[tuple[str, Service], Pool] = {}
        clusters = {name: self._cluster(name, spec, addresses, pools) for name in sorted(_forwarded(spec))}
        tables = {listener.name: Table(spec, listener) for listener in spec.listeners}
        providers = self._new_providers(spec)
        connections = self._new_connections(spec)
        plans = {id(route): self._plan(route, spec, clusters, providers) for route in spec.routes}
        for route in spec.routes:
            if connections is not None and isinstance(route.action, Aggregate):
                plans[id(route)].aggregator = self._aggregator(route, route.action, spec, addresses, connections)
        self._adopt(providers, connections)
        for key, pool in self._pools.items():
            if key not in pools:
                pool.close()
        self._pools = pools
        return Runtime(spec, tables, plans, clusters)

    def _cluster(
        self, name: str, spec: GatewaySpec, addresses: Addresses, pools: dict[tuple[str, Service], Pool]
    ) -> Cluster:
        service = next((service for service in spec.services if service.name == name), Service(name))
        urls = service.urls or addresses.get(name, ())
        if not urls and name not in addresses:
            raise ConfigurationError(
                f"no address is known for the service {name!r}; name its urls under services, or set {variable_for(name)}",
                source=spec.source,
            )
        found: list[Pool] = []
        for url in urls:
            key = (url, service)
            pools[key] = pools.get(key) or self._pools.get(key) or Pool(url, service, self.clock)
            found.append(pools[key])
        return Cluster(name, tuple(found), self.clock)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep the keys of providers up to date from now on."""
        self._loop = loop
        self._keep()

    async def aclose(self) -> None:
        """Let everything go."""
        for task in [self._keeper, *self._closing]:
            if task is not None:
                task.cancel()
        if self._providers is not None:
            await self._providers.aclose()
        if self._connections is not None:
            await self._connections.aclose()
        for pool in self._pools.values():
            pool.close()

    def troubles(self, runtime: Runtime) -> Iterator[tuple[str, str]]:
        """What is amiss with what the gateway shares with others: keys never fetched, circuits that are open."""
        if self._providers is not None:
            yield from ((f"keys {name}", "they have not been fetched yet") for name in self._providers.lacking)
        routes = {route.name for route in runtime.spec.routes}
        for (route, service), (_, breaker) in self._breakers.items():
            if breaker.state in {"open", "isolated"} and route in routes:
                yield f"circuit {route} -> {service}", breaker.state
        if self._connections is not None:
            yield from ((f"circuit {name}", state) for name, state in self._connections.open_circuits())

    def new_keys(self, error: Problem) -> Awaitable[object] | None:
        """What fetches the keys of the provider that `error` says has no such key; None for any other error."""
        if self._providers is None:
            return None
        from skerry.gateway.auth import UnknownKey

        return self._providers.verifier(error.provider).refresh() if isinstance(error, UnknownKey) else None

    def _new_providers(self, spec: GatewaySpec) -> Providers | None:
        if not spec.providers:
            return None
        from skerry.gateway.auth import Providers

        return Providers(spec.providers, clock=self.clock, before=self._providers)

    def _new_connections(self, spec: GatewaySpec) -> Connections | None:
        if not any(isinstance(route.action, Aggregate) for route in spec.routes):
            return None
        from skerry.gateway.aggregating import Connections

        return Connections(clock=self.clock, before=self._connections)

    def _aggregator(
        self, route: Route, action: Aggregate, spec: GatewaySpec, addresses: Addresses, connections: Connections
    ) -> Aggregator:
        from skerry.gateway.aggregating import Aggregator

        clients = connections.clients(
            route.name, action, services=spec.services, addresses=addresses, max_reply=spec.limits.reply
        )
        return Aggregator(action, clients, self.clock)

    def _adopt(self, providers: Providers | None, connections: Connections | None) -> None:
        old, self._providers = self._providers, providers
        left, self._connections = self._connections, connections
        if self._loop is None:
            return
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        for leaving in (
            None if old is None else old.aclose(but=providers),
            None if left is None else left.aclose(but=connections),
        ):
            if leaving is not None:
                task = self._loop.create_task(leaving)
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._keep()

    def _keep(self) -> None:
        if self._providers is not None and self._loop is not None:
            self._keeper = self._loop.create_task(self._providers.keep())

    def _guard(self, route: Route, providers: Providers | None) -> Guard | None:
        tokens = None
        if route.auth is not None:
            if providers is None:
                raise ConfigurationError(f"route {route.name!r}: auth names providers, and there are none")
            tokens = providers.guard(route.auth)
        limiter = None
        if route.rate is not None:
            limiter = self._limiters.get(route.name)
            if limiter is None or limiter.spec != route.rate:
                limiter = self._limiters[route.name] = Limiter(route.rate, self.clock)
        return Guard.of(route, tokens, limiter, frozenset() if providers is None else providers.headers)

    def _plan(
        self,
        route: Route,
        spec: GatewaySpec,
        clusters: Mapping[str, Cluster],
        providers: Providers | None,
    ) -> Plan:
        limit, budget = self._limit(route)
        plan = Plan(
            route,
            route.policy,
            limit,
            budget,
            Edit.of(route.request_headers),
            Edit.of(route.response_headers),
            spec.limits.body if route.body is None else route.body,
            timed=limit.timed,
            shown=f',"route":{json.dumps(route.name)}',
            patience=b"" if route.policy.total is None else b"skerry-timeout: %.3f\r\n" % route.policy.total,
            told=b"" if route.priority == EMPTY.priority else b"skerry-priority: %d\r\n" % route.priority,
        )
        plan.guard = self._guard(route, providers)
        action = route.action
        if isinstance(action, Forward):
            targets = [(backend.weight, self._target(route, backend, clusters)) for backend in action.backends]
            # a plan whose shares nobody has put in yet is an ordinary route to its control
            counted = action.strangle is not None and self.counting is not None and spec.version is not None
            if action.writes is not None or counted:
                plan.call = StrangledCall
                plan.strangled = Strangled.of(route, action, [target for _, target in targets], self.counting)
            plan.choice = Choice(targets, action.sticky, self.clock)
            plan.rewrite = Rewriting.of(action.rewrite)
            plan.mirrors = tuple(
                (mirror.percent / 100, Target(mirror.service, clusters[mirror.service], None, (), ()))
                for mirror in action.mirrors
            )
        return plan

    def _target(self, route: Route, backend: Backend, clusters: Mapping[str, Cluster]) -> Target:
        name = backend.service
        if name is None:
            return Target("", None, None, (), ())
        breaker = None if route.policy.breaker is None else self._breaker(route, name, route.policy.breaker)
        edits = Edit.of(backend.request_headers), Edit.of(backend.response_headers)
        return Target(name, clusters[name], breaker, *edits, shown=f',"service":{json.dumps(name)},"attempts":')

    def _breaker(self, route: Route, service: str, spec: BreakerSpec) -> CircuitBreaker:
        known = self._breakers.get((route.name, service))
        if known is not None and known[0] == spec:
            return known[1]
        breaker = _breaker(spec, f"{route.name} -> {service}", self.clock)
        if known is not None and known[1].adopt(breaker):
            breaker = known[1]
        self._breakers[route.name, service] = (spec, breaker)
        return breaker

    def _limit(self, route: Route) -> tuple[Bulkhead | AdaptiveLimit, RetryBudget]:
        known = self._limits.get(route.name)
        if known is not None and known[0] == route.policy:
            return known[1], known[2]
        policy = route.policy
        budget = RetryBudget(policy.retry.budget, min_per_second=policy.retry.per_second)
        limit: Bulkhead | AdaptiveLimit
        if policy.adaptive:
            limit = AdaptiveLimit(
                min=min(4, policy.concurrency),
                max=policy.concurrency,
                queue=policy.queue,
                name=route.name,
                clock=self.clock,
            )
        else:
            limit = Bulkhead(policy.concurrency, queue=policy.queue, name=route.name, clock=self.clock)
        if known is not None:
            if known[1].adopt(limit):
                limit = known[1]
            known[2].adopt(budget)
            budget = known[2]
        self._limits[route.name] = (policy, limit, budget)
        return limit, budget


def _forwarded(spec: GatewaySpec) -> set[str]:
    """The services that requests are sent on to. Those of aggregates have clients of their own."""
    actions = [route.action for route in spec.routes if isinstance(route.action, Forward)]
    named = {backend.service for action in actions for backend in action.backends if backend.service is not None}
    return named | {mirror.service for action in actions for mirror in action.mirrors}


def _breaker(spec: BreakerSpec, name: str, clock: Clock) -> CircuitBreaker:
    if spec.consecutive is not None:
        # so many calls, all of which failed, are so many failures in a row
        return CircuitBreaker(
            1.0,
            window_calls=spec.consecutive,
            min_calls=spec.consecutive,
            open_for=spec.open_for,
            probes=spec.probes,
            name=name,
            clock=clock,
        )
    return CircuitBreaker(
        spec.failure_rate or 1.0,
        window=spec.window,
        min_calls=spec.min_calls,
        open_for=spec.open_for,
        probes=spec.probes,
        name=name,
        clock=clock,
    )
