"""The embedded engine: a gateway as an ASGI application, without a framework."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from skerry import context, signals
from skerry.client import ServiceClient, is_failure
from skerry.clock import SYSTEM, Clock
from skerry.errors import SkerryError
from skerry.gateway.aggregate import AggregateTarget
from skerry.gateway.exchange import ClientGone, Request, read_body, send_answer, unless_gone
from skerry.gateway.headers import arriving_context, incoming
from skerry.gateway.paths import canonical, encoded_query
from skerry.gateway.proxy import ProxyTarget
from skerry.gateway.routing import Table
from skerry.gateway.spec import Aggregate, GatewaySpec, PolicySpec, Route
from skerry.health import HealthReport
from skerry.health.report import MEDIA_TYPE as HEALTH_TYPE
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget
from skerry.service import problem
from skerry.service.problem import Answer, Problem
from skerry.service.server import Receive, Scope, Send
from skerry.telemetry.spans import span

MAX_TARGET = 8192
"""Bytes of a request's path and query together."""
_log = logging.getLogger("skerry.gateway")


class Gateway:
    """Routes requests to services as a `GatewaySpec` says; each route calls within a policy of its own.

    `urls` maps service names to base addresses. Raises `ConfigurationError` when one is missing. It promises that a failing
    service costs its own routes only, that every answer is whole, and that what the gateway itself answers is a problem
    body. `GET /health/live` and `/health/ready` are its own; after `drain` it is not ready.

        gateway = Gateway(GatewaySpec.load(Path("gateway.yaml")), urls=settings.urls)
        serve(gateway, settings, on_drain=gateway.drain)
    """

    def __init__(self, spec: GatewaySpec, *, urls: Mapping[str, str], clock: Clock = SYSTEM) -> None:
        self._spec = spec
        self._urls = urls
        self._clock = clock
        self._draining = False
        self._table = Table(spec.routes)
        self._targets = {route: self._target(route) for route in spec.routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    def drain(self) -> None:
        """Stop being ready. Requests are answered all the same, until the server stops."""
        if not self._draining:
            self._draining = True
            signals.emit(signals.ServiceChanged(service=self._spec.name, state="draining"))

    async def aclose(self) -> None:
        """Close the connections to all services."""
        for target in self._targets.values():
            await target.aclose()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        signals.emit(signals.ServiceChanged(service=self._spec.name, state="ready"))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        signals.emit(signals.ServiceChanged(service=self._spec.name, state="stopped"))
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        health = self._health(scope["path"])
        if health is not None:
            await send_answer(health, scope, receive, send)
            return
        arriving = arriving_context(scope["headers"], clock=self._clock)
        named = {"http_request_method": scope["method"]}
        with span(scope["method"], "server", arriving, clock=self._clock, **named) as own, context.use(own):
            try:
                answer = await self._answer(scope, receive)
            except ClientGone:
                return
            except Problem as error:
                answer = error.answer(instance=_instance(scope), trace_id=own.trace_id)
            await send_answer(answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
            raise Problem(414, "target_too_long", f"The path and query are longer than {MAX_TARGET} bytes.")
        path = canonical(scope["raw_path"])
        try:
            match = self._table.find(scope["method"], path)
        except Problem as refusal:
            if refusal.status == 405 and scope["method"] == "OPTIONS":
                return Answer(204, refusal.headers, b"")
            raise
        limits = self._spec.limits
        body = await read_body(scope, receive, limit=limits.body, within=limits.body_timeout)
        client = (scope.get("client") or ("",))[0]
        headers = incoming(scope["headers"], scheme=scope["scheme"], client=client)
        request = Request(scope["method"], path, encoded_query(scope["query_string"]), tuple(headers), body)
        try:
            return await unless_gone(receive, self._targets[match.route].answer(request, match))
        except SkerryError as error:
            known = problem.of(error, what="The service behind this path")
            if known is None:
                raise
            raise known from error
        except (Problem, ClientGone):
            raise
        except Exception as error:  # a mistake of ours: the client learns that it happened, the signal says what
            failed = signals.RequestFailed(
                service=self._spec.name, method=scope["method"], route=match.route.path, error=type(error).__name__
            )
            signals.emit(failed)
            _log.exception("a request failed")
            raise Problem(500, "internal", "The gateway failed on this request.") from error

    def _health(self, path: str) -> Answer | None:
        if path == "/health/live":
            report = HealthReport("pass", {})
        elif path == "/health/ready":
            # Services that are down do not count: the gateway answers for the others, and says so for these.
            report = HealthReport("fail" if self._draining else "pass", {})
        else:
            return None
        headers = [(b"content-type", HEALTH_TYPE.encode()), (b"cache-control", b"no-store")]
        return Answer(200 if report.ok else 503, headers, report.body())

    def _target(self, route: Route) -> ProxyTarget | AggregateTarget:
        methods = "" if route.methods is None else ",".join(sorted(route.methods)) + " "
        name = f"{self._spec.name}: {methods}{route.path}"
        if isinstance(route.target, Aggregate):
            clients = {
                part.name: self._client(f"{name}#{part.name}", part.service, part.policy) for part in route.target.parts
            }
            return AggregateTarget(route.target, clients, self._clock)
        return ProxyTarget(route, route.target, self._client(name, route.target.service, route.target.policy))

    def _client(self, name: str, service: str, spec: PolicySpec) -> ServiceClient:
        policy = policy_from(spec, name=name, clock=self._clock)
        limit = self._spec.limits.reply
        return ServiceClient(service, url=self._urls.get(service), policy=policy, max_reply=limit, clock=self._clock)


def policy_from(spec: PolicySpec, *, name: str, clock: Clock = SYSTEM) -> Policy:
    """The policy that a specification describes."""
    return Policy(
        name,
        total=spec.total,
        attempt=spec.attempt,
        limit=Bulkhead(spec.concurrency, queue=spec.queue),
        retry=Retry(spec.attempts, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(
            spec.breaker.failure_rate,
            window=spec.breaker.window,
            min_calls=spec.breaker.min_calls,
            open_for=spec.breaker.open_for,
            probes=spec.breaker.probes,
            on=is_failure,
        ),
        clock=clock,
    )


def _instance(scope: Scope) -> str:
    return str(scope["raw_path"].decode("ascii", "replace"))
