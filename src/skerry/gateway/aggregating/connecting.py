"""The clients that ask for the parts of aggregates: each with its part's policy, and kept over reloads."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from functools import partial
from urllib.parse import urlsplit

from skerry.client import DEFAULT_MAX_REPLY, HttpTransport, ServiceClient, is_failure
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, StatusError
from skerry.gateway.model import Addresses, Aggregate, BreakerSpec, Part, PolicySpec, Service
from skerry.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget

_Key = tuple[str, Part, Service, tuple[str, ...], int]


class Connections:
    """The clients of all aggregates of a specification.

    With `before`, at a reload, a part that is still the same keeps its client, with its connections and the state of its breaker.

        connections = Connections(clock=clock, before=connections)
        clients = connections.clients("order page", aggregate, services=spec.services, addresses=addresses)
    """

    def __init__(self, *, clock: Clock = SYSTEM, before: Connections | None = None) -> None:
        self._clock = clock
        self._before: dict[_Key, ServiceClient] = {} if before is None else before._clients
        self._clients: dict[_Key, ServiceClient] = {}
        self._longest = 0.0

    def clients(
        self,
        route: str,
        aggregate: Aggregate,
        *,
        services: Iterable[Service] = (),
        addresses: Addresses | None = None,
        max_reply: int = DEFAULT_MAX_REPLY,
    ) -> dict[str, ServiceClient]:
        """The clients of the route called `route`, by the names of parts. Bodies of replies have at most `max_reply` bytes.

        Raises `ConfigurationError` for a service whose address nobody knows, or addresses that are not alike.
        """
        known = {service.name: service for service in services}
        self._longest = max(self._longest, aggregate.deadline)
        found: dict[str, ServiceClient] = {}
        for part in aggregate.parts:
            service = known.get(part.service, Service(part.service))
            urls = service.urls or (addresses or {}).get(service.name, ())
            key = (route, part, service, tuple(urls), max_reply)
            client = self._before.get(key)
            if client is None:
                client = self._made(f"{route} -> {part.name}", part, service, tuple(urls), max_reply)
            found[part.name] = self._clients[key] = client
        return found

    def open_circuits(self) -> Iterator[tuple[str, str]]:
        """The parts whose services are not asked right now: route and part, and the state of the breaker."""
        for client in self._clients.values():
            breaker = client.policy.breaker
            if breaker is not None and breaker.state in {"open", "isolated"}:
                yield client.policy.name, breaker.state

    async def aclose(self, *, but: Connections | None = None) -> None:
        """Close the connections, those excepted that `but` goes on to use.

        With `but` some calls may be under way yet: it waits until the longest deadline has passed, or until it is cancelled.
        """
        kept = {id(client) for client in but._clients.values()} if but is not None else set()
        leaving = [client for client in self._clients.values() if id(client) not in kept]
        try:
            if but is not None and leaving:
                await self._clock.sleep(self._longest + 1.0)
        finally:
            for client in leaving:
                await client.aclose()

    def _made(self, name: str, part: Part, service: Service, urls: tuple[str, ...], max_reply: int) -> ServiceClient:
        tls = None if service.ca is None else _trusting(service, service.ca)
        return ServiceClient(
            service.name,
            url=_address(service.name, urls) if urls else None,
            policy=policy_of(part.policy, name=name, clock=self._clock),
            transport=HttpTransport(tls=tls),
            max_reply=max_reply,
            clock=self._clock,
        )


def policy_of(spec: PolicySpec, *, name: str, clock: Clock = SYSTEM) -> Policy:
    """The policy that a specification describes, for one part. Only GET is sent, so everything that fails may be sent again."""
    limit = (
        AdaptiveLimit(min=min(4, spec.concurrency), max=spec.concurrency, queue=spec.queue)
        if spec.adaptive
        else Bulkhead(spec.concurrency, queue=spec.queue)
    )
    retry = spec.retry
    return Policy(
        name,
        total=spec.total,
        attempt=spec.attempt,
        limit=limit,
        retry=Retry(
            retry.attempts,
            on=partial(_again, retry.statuses),
            base=retry.backoff,
            cap=max(retry.longest, retry.backoff),
            budget=RetryBudget(ratio=retry.budget, min_per_second=retry.per_second),
        ),
        breaker=None if spec.breaker is None else _breaker(spec.breaker),
        clock=clock,
    )


def _again(statuses: frozenset[int], error: Exception) -> bool:
    """Whether what failed may be asked again: an answer by its status, everything else when nothing came back."""
    if isinstance(error, StatusError):
        return error.status in statuses
    return isinstance(error, OSError | TimeoutError)


def _breaker(spec: BreakerSpec) -> CircuitBreaker:
    if spec.consecutive is not None:
        # so many calls, all of which failed, are so many failures in a row
        many = spec.consecutive
        return CircuitBreaker(
            1.0, window_calls=many, min_calls=many, open_for=spec.open_for, probes=spec.probes, on=is_failure
        )
    return CircuitBreaker(
        spec.failure_rate or 1.0,
        window=spec.window,
        min_calls=spec.min_calls,
        open_for=spec.open_for,
        probes=spec.probes,
        on=is_failure,
    )


def _address(service: str, urls: tuple[str, ...]) -> str:
    """One address that names all instances, in the client's way of writing."""
    if len(urls) == 1:
        return urls[0]
    parts = [urlsplit(url) for url in urls]
    if len({(part.scheme, part.path.rstrip("/")) for part in parts}) != 1:
        raise ConfigurationError(f"the addresses of {service!r} have one scheme and one path")
    return f"{parts[0].scheme}://{','.join(part.netloc for part in parts)}{parts[0].path.rstrip('/')}"


def _trusting(service: Service, ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"service {service.name!r}: its ca cannot be used ({type(error).__name__})", source=ca
        ) from error
