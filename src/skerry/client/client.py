"""ServiceClient: the calls of one service to another, each within a policy."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx2

from skerry import __version__, context
from skerry.client.http import HttpBorder
from skerry.client.reply import Reply
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, ConnectionLost, ReplyTooLarge, StatusError, Unreachable
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget, deadline
from skerry.settings import Settings, name_of, variable_for

DEFAULT_MAX_REPLY = 8 * 1024 * 1024
"""Bytes of a decoded reply body."""
IDEMPOTENT = frozenset(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
"""Methods that may be repeated without harm (RFC 9110, section 9.2.2)."""
RETRIED_STATUSES = frozenset([429, 502, 503, 504])
KEY_HEADER = "idempotency-key"

Params = Mapping[str, str | int | float | bool | None]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?=[/?]|$)", re.IGNORECASE)
_CARRIED = ("traceparent", "tracestate", context.TIMEOUT_HEADER, context.RETRIED_HEADER, context.PRIORITY_HEADER)


class ServiceClient:
    """Calls one service over HTTP.

    Every call runs within `policy`, so it ends in time, whatever the peer does, and refuses early when the peer is ill.
    Failed calls are repeated only where that cannot do harm: idempotent methods, calls with an `idempotency_key`, and any
    call for which no connection was made. What travels along is the ambient context and nothing else: the time left, the
    trace, the priority, and whether this call is being retried here. No redirect is followed, no cookie kept, no proxy used.

    The address is `url`, else the variable `SKERRY_URL_<SERVICE>`. `max_reply` bounds the decoded body in bytes. `transport`
    replaces the network in tests (an httpx2 transport); it is closed with the client.

    Any status is returned, not raised: use `Reply.raise_for_status`. Raises `Unreachable`, `ConnectionLost`,
    `ReplyTooLarge`, `Refused` (`CircuitOpen`, `BulkheadFull`), `DeadlineExceeded` (`AttemptTimeout`); at construction
    `ConfigurationError`.

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
        transport: httpx2.AsyncBaseTransport | None = None,
        max_reply: int = DEFAULT_MAX_REPLY,
        clock: Clock = SYSTEM,
    ) -> None:
        self.service = service
        self.url: str = _address(service, url)
        self.policy: Policy = policy or default_policy(service, clock=clock)
        self._clock = clock
        self._border = HttpBorder(
            service, max_reply=max_reply, secure=self.url.startswith("https:"), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._border.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Headers | None = None,
        json: Any = None,
        content: bytes | str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it becomes a deadline
    ) -> Reply:
        """One call, repeated where that is safe. `timeout` in seconds shortens the policy's total; it cannot extend it."""
        request = self._build(method, path, params, headers, json, content)
        if idempotency_key is not None:
            request.headers[KEY_HEADER] = idempotency_key
        repeatable = request.method in IDEMPOTENT or KEY_HEADER in request.headers
        try:
            async with nullcontext() if timeout is None else deadline(timeout, clock=self._clock):
                return await self._call(request, repeatable=repeatable)
        except _BadReply as failure:  # attempts are over; the reply is the best answer there is
            return failure.reply

    async def get(self, path: str, **options: Any) -> Reply:
        """GET; options as for `request`."""
        return await self.request("GET", path, **options)

    async def head(self, path: str, **options: Any) -> Reply:
        """HEAD; options as for `request`."""
        return await self.request("HEAD", path, **options)

    async def post(self, path: str, **options: Any) -> Reply:
        """POST; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Reply:
        """PUT; options as for `request`."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> Reply:
        """PATCH; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        """DELETE; options as for `request`."""
        return await self.request("DELETE", path, **options)

    def _build(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Headers | None,
        json: Any,
        content: bytes | str | None,
    ) -> httpx2.Request:
        if not path.startswith("/") or _DOT_SEGMENT.search(path):
            raise ValueError(
                f"{self.service}: a path begins with a slash and has no dot segments, unlike {path[:80]!r}"
            )
        given = httpx2.Headers(headers if isinstance(headers, Mapping) or headers is None else list(headers))
        for name in _CARRIED:
            given.pop(name, None)
        given.setdefault("user-agent", f"skerry/{__version__}")
        given.setdefault("accept-encoding", "gzip, deflate")
        try:
            return httpx2.Request(method, self.url + path, params=params, headers=given, json=json, content=content)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{self.service}: {path[:80]!r} is not a valid path") from error

    async def _call(self, request: httpx2.Request, *, repeatable: bool) -> Reply:
        retried_above = context.current().retries_above

        async def attempt() -> Reply:
            ambient = context.current().child(self._clock)
            if not repeatable:  # then a failure after sending is final here, and layers below may retry
                ambient = replace(ambient, retries_above=retried_above)
            headers = request.headers.copy()
            context.inject(headers, ambient, clock=self._clock)
            return self._judge(await self._border.send(_with_headers(request, headers)))

        policy = self.policy if repeatable else _only_unsent(self.policy)
        return await policy.call(attempt)

    def _judge(self, reply: Reply) -> Reply:
        if reply.status in RETRIED_STATUSES:
            raise _Unavailable(reply, self._clock)
        if reply.status >= 500:
            raise _BadReply(reply, self._clock)
        return reply


def default_policy(service: str, *, clock: Clock = SYSTEM) -> Policy:
    """Total 5 s, attempt 2 s, three attempts within a budget of 10 %, a breaker, 64 calls at once and 64 waiting."""
    return Policy(
        service,
        total=5.0,
        attempt=2.0,
        limit=Bulkhead(64, queue=64),
        retry=Retry(3, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(on=is_failure),
        clock=clock,
    )


def is_failure(error: Exception) -> bool:
    """Whether a failed call tells of an ill service: for `CircuitBreaker(on=is_failure)`. A status below 500 does not."""
    if isinstance(error, StatusError):
        return error.status >= 500
    return isinstance(error, Unreachable | ConnectionLost | ReplyTooLarge | TimeoutError)


class _BadReply(StatusError):
    """Inside the policy a reply that tells of trouble is an error, so that the breaker sees it."""

    def __init__(self, reply: Reply, clock: Clock) -> None:
        self.reply = reply
        super().__init__(reply.service, reply.status, retry_after=reply.retry_after(clock))


class _Unavailable(_BadReply, ConnectionError):
    """The service, or what stands before it, says it is not there right now: to `Retry` the same as no connection."""


def _only_unsent(policy: Policy) -> Policy:
    """The same policy, sharing its parts and counts, that repeats nothing but what was surely not sent."""
    retry = policy.retry
    if retry is None:
        return policy
    narrowed = copy.copy(policy)
    narrowed.retry = Retry(
        retry.attempts,
        on=lambda error: isinstance(error, Unreachable) and retry.retries(error),
        base=retry.base,
        cap=retry.cap,
        retry_after_cap=retry.retry_after_cap,
        budget=retry.budget,
        name=retry.name,
        clock=retry.clock,
    )
    return narrowed


def _with_headers(request: httpx2.Request, headers: httpx2.Headers) -> httpx2.Request:
    return httpx2.Request(request.method, request.url, headers=headers, stream=request.stream)


def _address(service: str, url: str | None) -> str:
    """The base address, without a slash at its end."""
    variable = variable_for(service)
    if url is None:
        url = Settings.from_environ().urls.get(name_of(variable))
    if not url:
        raise ConfigurationError(
            f"the address of {service!r} is not known: set {variable}, for example to http://host:port"
        )
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"the address of {service!r} ({variable}) is not a URL") from error
    plain = (
        parsed.scheme in {"http", "https"} and parsed.host and not (parsed.userinfo or parsed.query or parsed.fragment)
    )
    if not plain:
        raise ConfigurationError(
            f"the address of {service!r} ({variable}) must look like http://host:port, without credentials"
        )
    return url.rstrip("/")
