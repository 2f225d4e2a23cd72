"""One process of the embedded engine: its listeners, its clients, and what all requests share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from skerry import context, signals
from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext
from skerry.errors import ConfigurationError, Overloaded
from skerry.gateway.engine import heads
from skerry.gateway.engine.access import AccessWriter
from skerry.gateway.engine.call import SHORTEST_WAIT
from skerry.gateway.engine.client import Client
from skerry.gateway.engine.counting import Counting
from skerry.gateway.engine.exchange import Exchange
from skerry.gateway.engine.health import PATHS, Health
from skerry.gateway.engine.plan import Runtime, Workshop
from skerry.gateway.engine.strangled import StrangledCall
from skerry.gateway.engine.watch import Watch
from skerry.gateway.model import Addresses, GatewaySpec, Limits, Listener, Route
from skerry.gateway.wire import BadMessage
from skerry.gateway.wire.crossing import Judge
from skerry.resilience._wheel import Wheel, numbers
from skerry.service.hosting import MOST_QUEUED, bound, queued
from skerry.service.problem import Answer, Problem
from skerry.service.shedding import RETRY_AFTER, LoopLag, too_late
from skerry.signals import HUB
from skerry.telemetry import conventions, spans

LINGER: Final = 0.3
"""Seconds between "not ready" and closing the listening sockets, so that callers that hold a connection learn of it."""
COLLECT: Final = (20_000, 20, 100)
"""When the collector looks: a request leaves no cycles behind, so it would find nothing, ten times as often."""
_DRAWN: Final = 128
_SOON: Final = 0.002
"""Seconds that may be gone of a request's time and still count as none."""
_log = logging.getLogger("skerry.gateway")


class Worker:
    """Serves one specification after the other. All of it belongs to one event loop."""

    def __init__(
        self, spec: GatewaySpec, addresses: Addresses, *, state: Path | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.clock: Clock = clock
        self.now: Callable[[], float] = clock.monotonic
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.wheel: Wheel = Wheel(self.loop, clock)
        self.numbers: Iterator[int] = numbers
        self.judge: Judge = Judge()
        self.draining: bool = False
        self.lag: LoopLag = LoopLag()
        self.held: int = 0
        """Bytes of requests that cannot begin yet."""
        self.shadows: int = 0
        self.clients: set[Client] = set()
        self._addresses = addresses
        self.counting: Counting | None = None if state is None else Counting(state, clock, self.loop)
        self.waiting: dict[StrangledCall, None] = {}
        """Requests that wait for another specification, in the order in which they came."""
        self._workshop = Workshop(clock, self.counting)
        self.runtime: Runtime = self._workshop.make(spec, addresses)
        self.limits: Limits = spec.limits
        self._access = None if spec.access_log is None else AccessWriter(spec.access_log, clock)
        self._servers: list[asyncio.Server] = []
        self._places: list[tuple[str, socket.socket, ssl.SSLContext | None]] = []
        self._places_drawn: list[str] = []
        self._watch = Watch(self)
        self._health = Health(lambda: self._workshop.troubles(self.runtime), clock)

    # Life.

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` when a certificate cannot be read, `OSError` when an address cannot be bound."""
        for listener in self.runtime.spec.listeners:
            tls = None if listener.tls is None else certificate(listener)
            place = bound(listener.address, listener.port)
            self._places.append((listener.name, place.dup(), tls))
            server = await self.loop.create_server(
                partial(Client, self, listener.name),
                sock=place,
                ssl=tls,
                backlog=MOST_QUEUED,
                ssl_handshake_timeout=self.limits.head_timeout if tls else None,
            )
            self._servers.append(server)
        self._workshop.start(self.loop)
        self._watch.start()
        if self.counting is not None:
            self.counting.start(self.runtime.spec)
        for name, port in self.ports.items():
            _log.info("the gateway listens on port %d (%s)", port, name)
        signals.emit(signals.ServiceChanged(service=self.runtime.spec.name, state="ready"))

    @property
    def ports(self) -> Mapping[str, int]:
        """Where each listener really listens."""
        names = [listener.name for listener in self.runtime.spec.listeners]
        return {name: server.sockets[0].getsockname()[1] for name, server in zip(names, self._servers, strict=True)}

    def reload(self, spec: GatewaySpec, addresses: Addresses | None = None) -> None:
        """Serve `spec` from the next request on, its services at other `addresses` if they are given; those under way end as they
        began.

        Raises `ConfigurationError`; then nothing changes.

        Listeners stay where they are: what they listen on cannot be changed without a restart.
        """
        old = self.runtime.spec
        told = self._addresses if addresses is None else addresses
        self.runtime = self._workshop.make(keep_listeners(spec, old.listeners), told)
        self._addresses = told
        self.limits = spec.limits
        if spec.access_log != old.access_log:
            access, self._access = (
                self._access,
                None if spec.access_log is None else AccessWriter(spec.access_log, self.clock),
            )
            if access is not None:
                access.close()
        if self.counting is not None:
            self.counting.serves(spec)
        waiting, self.waiting = self.waiting, {}
        for call in waiting:
            call.go_on()
        signals.emit(signals.GatewayReloaded(service=spec.name, routes=len(spec.routes)))

    def leave(self) -> None:
        """Stop being ready, and tell clients to close. Requests are answered all the same."""
        if not self.draining:
            self.draining = self._health.draining = True
            signals.emit(signals.ServiceChanged(service=self.runtime.spec.name, state="draining"))

    async def drain(self, within: float) -> None:
        """Leave, take no more connections, and let what is under way end within so many seconds."""
        self.leave()
        await self.clock.sleep(LINGER)
        for server in self._servers:
            server.close()
        await self._take_last()
        until = self.now() + within
        await self.clock.sleep(LINGER)
        for client in list(self.clients):
            if client.exchange is None:
                client.linger()
        while self.clients and self.now() < until:
            await self.clock.sleep(0.02)
        for client in list(self.clients):
            client.transport.abort()
        await self.clock.sleep(0)
        await self.aclose()

    async def _take_last(self) -> None:
        """Connections that wait in the queue of a listening socket would be reset with it, so they are taken out before."""
        for name, place, tls in self._places:
            for connection in queued(place):
                with contextlib.suppress(OSError):
                    await self.loop.connect_accepted_socket(partial(Client, self, name), connection, ssl=tls)
        self._places.clear()

    async def aclose(self) -> None:
        """Let everything go."""
        for _, place, _ in self._places:
            place.close()
        self._watch.stop()
        self.lag.stop()
        if self.counting is not None:
            self.counting.close()
        await self._workshop.aclose()
        if self._access is not None:
            self._access.close()
        signals.emit(signals.ServiceChanged(service=self.runtime.spec.name, state="stopped"))

    # Clients.

    def welcome(self, client: Client) -> bool:
        """Whether there is room for one more."""
        if len(self.clients) >= self.limits.connections:
            return False
        self.clients.add(client)
        return True

    def bid_farewell(self, client: Client) -> None:
        """One has left."""
        self.clients.discard(client)

    def refuse(self, client: Client, error: BadMessage) -> None:
        """Answer what could not be read, and close."""
        if self._access is not None:
            self._access.refused(client.peer, error.status, error.code)
        answer = Problem(error.status, error.code, error.detail).answer(instance="", trace_id="")
        client.send(heads.reply(answer.status, list(answer.headers), heads.CLOSE) + answer.body)
        client.linger()

    # What requests ask of it.

    def health(self, path: str) -> Answer:
        """Of the gateway itself. Raises `Problem` 404 for another path."""
        answer = self._health.answer(path)
        if answer is None:
            raise Problem(404, "no_route", "There is nothing under this path.")
        return answer

    def demand_room(self, route: Route, lag: float) -> None:
        """Refuse what is less important while the event loop runs `lag` late, before more is done for it. Raises `Problem`."""
        if too_late(lag, route.priority):
            signals.emit(signals.CallRefused(policy=route.name, reason="event_loop_lag"))
            detail = "The gateway has more to do than it can at the moment; nothing was done."
            raise Problem(503, Overloaded.reason, detail, headers=RETRY_AFTER)

    def new_keys(self, error: Problem) -> Awaitable[object] | None:
        """What to wait for before a request that brought a token of an unknown key is looked at once more."""
        return self._workshop.new_keys(error)

    def patience(self, exchange: Exchange, total: float | None) -> float | None:
        """Seconds for a request: what the route allows, or less when its client waits less long."""
        told = exchange.head.context.get(b"skerry-timeout")
        if told is None:
            return total
        asked = context.extract({context.TIMEOUT_HEADER: told.decode("latin-1")}, clock=self.clock).remaining(
            self.clock
        )
        if asked is None:
            return total
        asked = max(asked, SHORTEST_WAIT)
        return asked if total is None else min(asked, total)

    def trace(self, exchange: Exchange) -> str:
        """The request's own place in its trace, which is the client's if it brought one."""
        if not exchange.context:
            told = exchange.head.context.get(b"traceparent") if exchange.head.context else None
            around = context.EMPTY
            if told is not None:
                around = context.extract({"traceparent": told.decode("latin-1")}, clock=self.clock)
            if around.traceparent:
                exchange.context = around.child(self.clock).traceparent
            else:
                if not self._places_drawn:
                    self._draw()
                own = self._places_drawn.pop()
                tracer = spans.TRACING.tracer
                kept = "01" if tracer is None else spans.kept(own[3:35], exchange.head.method, "server")
                exchange.context = own + kept
        return exchange.context

    def _draw(self) -> None:
        """Places in new traces; many at once, for each draw asks the operating system."""
        ids = self.clock.random_bytes(24 * _DRAWN).hex()
        self._places_drawn = [f"00-{ids[at : at + 32]}-{ids[at + 32 : at + 48]}-" for at in range(0, len(ids), 48)]

    def said(self, exchange: Exchange, left: float, *, retries: bool) -> bytes:
        """What the gateway itself says to a service about a request, as header lines."""
        head, plan = exchange.head, exchange.plan
        assert plan is not None
        total, patience = plan.policy.total, b""
        if total is not None and 0.0 <= total - left < _SOON:
            patience = plan.patience
        elif left != math.inf:
            patience = b"skerry-timeout: %.3f\r\n" % max(0.0, left)
        lines = b"%bx-forwarded-host: %b\r\ntraceparent: %b\r\n%b%b%b" % (
            exchange.said,
            head.authority,
            self.trace(exchange).encode("ascii"),
            patience,
            plan.told,
            b"skerry-retried: 1\r\n" if retries else b"",
        )
        if head.context and b"tracestate" in head.context and b"traceparent" in head.context:
            lines += b"tracestate: %b\r\n" % head.context[b"tracestate"][:512]
        return lines

    def within(self, exchange: Exchange) -> AbstractContextManager[CallContext]:
        """The context for calls that answer `exchange`."""
        told = exchange.head.context.get(b"tracestate", b"")[:512].decode("latin-1")
        patience = self.patience(exchange, None)
        until = None if patience is None else exchange.started + patience
        priority = context.EMPTY.priority if exchange.plan is None else exchange.plan.route.priority
        return context.use(CallContext(until, self.trace(exchange), told, priority))

    def log(self, exchange: Exchange) -> None:
        """A request is over. Probes are in no span and no number, as at services: they would be what a quiet system does."""
        if self._access is not None:
            self._access.add(exchange, self.now() - exchange.started)
        if (spans.wanted() or HUB.measured) and exchange.head.path not in PATHS:
            self._tell(exchange, self.now() - exchange.started)

    def _tell(self, exchange: Exchange, seconds: float) -> None:
        """Its span, and how long it took. The route is called as the specification calls it, for paths there are prefixes."""
        head, status = exchange.head, exchange.status
        route = "" if exchange.plan is None else exchange.plan.route.name
        scheme = "https" if exchange.secure else "http"
        told = conventions.request_of(head.method) | {
            "url.path": head.path[: conventions.MAX_PATH],
            "url.scheme": scheme,
        }
        if route:
            told["skerry.route"] = route
        if status:
            told["http.response.status_code"] = status
        spans.tell(
            conventions.span_name(head.method, ""),
            "server",
            own=self.trace(exchange),
            parent=head.context.get(b"traceparent", b"").decode("latin-1"),
            seconds=seconds,
            error=exchange.why if status >= 500 or not status else "",
            attributes=told,
            clock=self.clock,
        )
        if HUB.measured:
            name = self.runtime.spec.name
            signals.emit(
                signals.RequestServed(
                    service=name, method=head.method, route=route, status=status, seconds=seconds, scheme=scheme
                )
            )

    def failed_inside(self, exchange: Exchange, error: Exception) -> None:
        """A mistake of ours."""
        route = "" if exchange.plan is None else exchange.plan.route.name
        name = self.runtime.spec.name
        signals.emit(
            signals.RequestFailed(service=name, method=exchange.head.method, route=route, error=type(error).__name__)
        )
        _log.error("a request failed", exc_info=error)


def keep_listeners(spec: GatewaySpec, listeners: tuple[Listener, ...]) -> GatewaySpec:
    """`spec` with the listeners that are there, with the hostnames that it gives them."""
    named = {listener.name: listener for listener in spec.listeners}
    kept = [replace(old, hostnames=named[old.name].hostnames) if old.name in named else old for old in listeners]
    return replace(spec, listeners=tuple(kept))


def certificate(listener: Listener) -> ssl.SSLContext:
    """What a listener shows its clients. Raises `ConfigurationError` for files that cannot be used."""
    assert listener.tls is not None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(listener.tls.certificate, listener.tls.key)
        if listener.tls.client_ca is not None:
            made.load_verify_locations(listener.tls.client_ca)
            made.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"listener {listener.name!r}: its certificate or key cannot be used ({type(error).__name__})"
        ) from error
    return made
