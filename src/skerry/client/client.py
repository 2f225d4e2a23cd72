"""ServiceClient: the calls of one service to another, each within a policy."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Self, TypeVar, Unpack
from urllib.parse import urlsplit

from skerry import context
from skerry.client.balancing import BalancedTransport
from skerry.client.decoding import whole
from skerry.client.discovery import located
from skerry.client.network import HttpTransport
from skerry.client.plan import Options, Plan, address, given, planned
from skerry.client.policy import UNSENT, BadReply, default_policy, judged, lost, only_unsent, tells_of_trouble
from skerry.client.redirects import next_request
from skerry.client.reply import Reply
from skerry.client.stream import Stream, Timing
from skerry.client.telling import Attempt
from skerry.client.transport import Request, Response, Transport
from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext
from skerry.errors import ConnectionLost, RedirectRefused, Unreachable
from skerry.resilience import Policy, deadline
from skerry.settings import Settings

T = TypeVar("T", bound=Response | Reply)

DEFAULT_MAX_REPLY = 8 * 1024 * 1024
"""Bytes of a decoded reply body."""
_UNTIMED = nullcontext()


class ServiceClient:
    """Calls one service over HTTP.

    Every call runs within `policy`, so it ends in time, whatever the peer does, and refuses early when the peer is ill.
    Failed calls are repeated only where that cannot do harm: idempotent methods, calls with an `idempotency_key`, and any
    call for which no connection was made. What travels along is the ambient context and nothing else: the time left, the
    trace, the priority, and whether this call is being retried here. No redirect is followed unless a call asks for it, no
    cookie kept, no proxy used, and certificates are always verified.

    The address is `url`, else the variable `SKERRY_URL_<SERVICE>`. It may name several instances, or where to find them (see
    `skerry.client.discovery`): then each request goes to one of them, and to the next when no connection can be made.
    `max_reply` bounds the decoded body in bytes. `tls` replaces the default trust, say by
    `ssl.create_default_context(cafile="our-authority.pem")`; it has to verify. `transport` replaces the network (see
    `Transport`), say by `AsgiTransport` in tests; it is closed with the client.

    Any status is returned, not raised: use `Reply.raise_for_status`. Raises `Unreachable`, `Untrusted`, `ConnectionLost`,
    `ReplyTooLarge`, `RedirectRefused`, `Refused` (`CircuitOpen`, `Overloaded`, `BulkheadFull`), `DeadlineExceeded`
    (`AttemptTimeout`); at construction `ConfigurationError`.

        async with ServiceClient("inventory") as inventory:
            reply = await inventory.post("/reservations", json=order, idempotency_key=key)
            reservation = reply.raise_for_status().json()
    """

    def __init__(
        self,
        service: str,
        *,
        url: str | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
        tls: ssl.SSLContext | None = None,
        max_reply: int = DEFAULT_MAX_REPLY,
        clock: Clock = SYSTEM,
    ) -> None:
        self.service = service
        told = given(service, url)
        found = located(service, told)
        self.url: str = address(service, told if found is None else found.url)
        parts = urlsplit(self.url)
        self._address = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self.policy: Policy = policy or default_policy(service, clock=clock)
        self._clock = clock
        self._max_reply = max_reply
        self._transport: Transport = transport or HttpTransport(tls=tls)
        if found is not None:
            zone = Settings.from_environ().zone
            self._transport = BalancedTransport(self._transport, service=service, located=found, zone=zone, clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def request(self, method: str, path: str, **options: Unpack[Options]) -> Reply:
        """One call, repeated where that is safe; see `Options` for what it takes."""
        plan = planned(self.service, self.url, method, path, options, self._clock)
        timeout = options.get("timeout")
        try:
            if timeout is None:
                return await self._call(plan, self._whole)
            with self._within(timeout):
                return await self._call(plan, self._whole)
        except BadReply as failure:  # attempts are over; the reply is the best answer there is
            return failure.reply

    async def get(self, path: str, **options: Unpack[Options]) -> Reply:
        """GET; options as for `request`."""
        return await self.request("GET", path, **options)

    async def head(self, path: str, **options: Unpack[Options]) -> Reply:
        """HEAD; options as for `request`."""
        return await self.request("HEAD", path, **options)

    async def post(self, path: str, **options: Unpack[Options]) -> Reply:
        """POST; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[Options]) -> Reply:
        """PUT; options as for `request`."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Unpack[Options]) -> Reply:
        """PATCH; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Unpack[Options]) -> Reply:
        """DELETE; options as for `request`."""
        return await self.request("DELETE", path, **options)

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Unpack[Options]) -> AsyncIterator[Stream]:
        """A call whose reply is read while it comes; see `Stream`.

        The policy holds until the head of the reply is here, and what is repeated is repeated until then; its total, the
        `timeout` and the deadline around it hold for the body too. A body that breaks off is the reader's to deal with.

            async with stock.stream("GET", "/export") as reply:
                async for line in reply.aiter_lines(): ...
        """
        plan = planned(self.service, self.url, method, path, options, self._clock)
        timeout = options.get("timeout")
        timing = self._timing(timeout)
        opened: list[Response] = []

        async def head(response: Response) -> Response:
            opened.append(response)
            if tells_of_trouble(response.status):
                await self._whole(response)
            return response

        try:
            try:
                with self._within(timeout):
                    response = await self._call(plan, head)
            except BadReply as failure:
                reply = failure.reply
                response = Response(reply.status, headers=reply.headers, body=reply.content)
            yield Stream(response, timing, most=self._max_reply)
        finally:
            for each in opened:
                each.close()

    def _within(self, timeout: float | None) -> AbstractContextManager[CallContext | None]:
        # The policy inside ends the call at the deadline that it is told, so no timer is needed here.
        return _UNTIMED if timeout is None else deadline(timeout, clock=self._clock)

    def _timing(self, timeout: float | None) -> Timing:
        now = self._clock.monotonic()
        limits = [limit for limit in (self.policy.total, timeout) if limit is not None]
        around = context.current().deadline
        own = now + min(limits) if limits else None
        imposed = around is not None and (own is None or around < own)
        until = around if imposed else own
        return Timing(self.service, until, 0.0 if until is None else until - now, self._clock, imposed=imposed)

    async def _call(self, plan: Plan, finish: Callable[[Response], Awaitable[T]]) -> T:
        request = plan.request
        # a call that is not repeated here leaves repeating to the layers below, unless one above does it
        marked = plan.repeatable or context.current().retries_above

        before: list[CallContext] = []
        maybe_arrived = False

        async def attempt() -> T:
            nonlocal maybe_arrived
            with Attempt(request, self._address, self._port, before=before, clock=self._clock) as work:
                carried = context.carried(work.context, clock=self._clock)
                if not marked:
                    carried = [pair for pair in carried if pair[0] != context.RETRIED_HEADER]
                headers = [*request.headers, *carried]
                going = Request(request.service, request.method, request.url, headers, request.body)
                try:
                    if plan.redirects:
                        answer = await finish(await self._followed(going, plan.redirects))
                    else:
                        answer = await finish(await self._transport.send(going))
                except BaseException as error:
                    maybe_arrived = maybe_arrived or not isinstance(error, UNSENT)
                    raise
                work.status = answer.status
                return answer

        policy = self.policy if plan.repeatable else only_unsent(self.policy)
        try:
            return await policy.call(attempt)
        except UNSENT as error:
            if maybe_arrived:
                raise lost(self.service, error) from error
            raise

    async def _followed(self, request: Request, redirects: int) -> Response:
        for sent in range(redirects + 1):
            try:
                response = await self._transport.send(request)
            except Unreachable as error:
                if not sent:
                    raise
                # something was sent, to who redirects, and to repeat all of it could do harm
                raise ConnectionLost(self.service, "no connection could be made to where a redirect leads") from error
            try:
                following = next_request(request, response)
            except RedirectRefused:
                response.close()
                raise
            if following is None:
                return response
            response.close()
            request = following
        raise RedirectRefused(self.service, f"more than {redirects} redirects")

    async def _whole(self, response: Response) -> Reply:
        try:
            reply = await whole(self.service, response, most=self._max_reply)
        finally:
            response.close()
        return judged(reply, self._clock)
