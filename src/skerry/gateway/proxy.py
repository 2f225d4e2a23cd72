"""A route with one service behind it."""

from __future__ import annotations

from skerry.client import ServiceClient
from skerry.gateway.exchange import Request
from skerry.gateway.headers import outgoing, public_location
from skerry.gateway.paths import encoded
from skerry.gateway.routing import Match
from skerry.gateway.spec import Proxy, Route
from skerry.service.problem import Answer, Problem


class ProxyTarget:
    """Sends a request on under the service's own path and brings the reply back in the client's terms."""

    def __init__(self, route: Route, proxy: Proxy, client: ServiceClient) -> None:
        self._path = route.path
        self._rewrite = proxy.rewrite
        self._client = client

    async def answer(self, request: Request, match: Match) -> Answer:
        """The service's reply, whatever its status. Raises what `ServiceClient.request` raises."""
        path = encoded(self._rewrite.rstrip("/") + match.rest or "/")
        target = f"{path}?{request.query}" if request.query else path
        content = request.body or None
        reply = await self._client.request(request.method, target, headers=request.headers, content=content)
        if not 200 <= reply.status <= 599:
            raise Problem(502, "bad_reply", "The service behind this path gave no usable answer.")
        headers = outgoing(reply.headers.multi_items(), keep_length=request.method == "HEAD")
        return Answer(reply.status, [self._in_clients_terms(*header) for header in headers], reply.content)

    async def aclose(self) -> None:
        """Close the connections to the service."""
        await self._client.aclose()

    def _in_clients_terms(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        if name not in {b"location", b"content-location"}:
            return name, value
        location = value.decode("latin-1")
        public = public_location(location, upstream=self._client.url, rewrite=self._rewrite, path=self._path)
        return name, public.encode("latin-1")
