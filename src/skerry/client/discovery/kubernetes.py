"""Instances in Kubernetes: the EndpointSlices of a service, listed once and then watched.

The way of the API's own clients: list, then watch from the version of that list; a version that the server has forgotten (410
Gone) means list again; bookmarks keep the version young while nothing happens ("Efficient detection of changes",
kubernetes.io/docs/reference/using-api/api-concepts).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from skerry.client.decoding import whole
from skerry.client.discovery.endpoint import Answer, Endpoint
from skerry.client.network import HttpTransport
from skerry.client.stream import Stream, Timing
from skerry.client.transport import Request, Response
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, ConnectionLost, StatusError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token of its service account and the certificate of the API's authority."""
PAGE, MOST_PAGES = 500, 100
"""Slices in one reply to a list, and replies."""
MAX_PAGE = 32 * 2**20
"""Bytes of one reply to a list."""
QUESTION = 10.0
"""Seconds for one page of a list, and until a watch has begun."""
WATCH, GRACE = 240, 30.0
"""Seconds after which the server is asked to end a watch, and how much later it is given up as dead."""
BETWEEN_WATCHES = 1.0
"""Seconds, also before another list. What happens meanwhile is told by the next watch: it goes on from the last version."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_GONE = 410


class KubernetesResolver:
    """The ready endpoints of `service` in `namespace`, with their zones and the ids of their pods.

    `port` is the name of the service's port, or the number that the pods listen on; without it the first. The token is read anew
    for each request, for it changes, and is sent over TLS only. The account needs `list` and `watch` on `endpointslices` in
    `discovery.k8s.io`. `api` replaces the address that a pod finds in its environment. Raises `ConfigurationError` at once.
    """

    def __init__(
        self,
        namespace: str,
        service: str,
        *,
        port: str = "",
        api: str = "",
        account: Path = ACCOUNT,
        clock: Clock = SYSTEM,
    ) -> None:
        if not _LABEL.fullmatch(namespace) or not _LABEL.fullmatch(service) or (port and not _PORT.fullmatch(port)):
            raise ConfigurationError("an address in Kubernetes must look like k8s://namespace/service:port")
        self._name = f"kubernetes/{namespace}/{service}"
        self._port = port
        self._account = account
        self._clock = clock
        self._url = f"{api or _in_cluster()}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._query = {"labelSelector": f"kubernetes.io/service-name={service}"}
        self._transport = HttpTransport(tls=_trust(account) if self._url.startswith("https:") else None)
        self._version = ""
        self._slices: dict[str, tuple[Endpoint, ...]] = {}
        self._watch: _Watch | None = None

    async def resolve(self) -> Answer:
        """See `Resolver`. Raises `CallError` and what comes of a reply that is not as the API says."""
        try:
            if self._version:
                await self._change()
            else:
                await self._list()
        except BaseException:
            self._forget()
            raise
        return Answer(tuple(endpoint for slice_ in self._slices.values() for endpoint in slice_))

    async def aclose(self) -> None:
        """Close every connection."""
        self._forget()
        await self._transport.aclose()

    def _forget(self) -> None:
        """The next question is for a list."""
        watch, self._watch, self._version = self._watch, None, ""
        if watch is not None:
            watch.close()

    async def _list(self) -> None:
        slices: dict[str, tuple[Endpoint, ...]] = {}
        onwards = ""
        for _ in range(MOST_PAGES):
            asked = {**self._query, "limit": str(PAGE), **({"continue": onwards} if onwards else {})}
            async with asyncio.timeout(QUESTION):
                response = await self._get(asked)
                try:
                    page = json.loads((await whole(self._name, response, most=MAX_PAGE)).content)
                finally:
                    response.close()
            for item in page.get("items") or ():
                slices[item["metadata"]["name"]] = tuple(endpoints_of(item, self._port))
            onwards = page["metadata"].get("continue", "")
            if not onwards:
                self._slices, self._version = slices, page["metadata"]["resourceVersion"]
                return
        raise ConnectionLost(self._name, f"the list has no end after {MOST_PAGES * PAGE} slices")

    async def _change(self) -> None:
        """Return when something has changed."""
        while True:  # until then, at the pace that BETWEEN_WATCHES allows
            if self._watch is None:
                asked = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH)}
                try:
                    async with asyncio.timeout(QUESTION):
                        response = await self._get({**self._query, **asked, "resourceVersion": self._version})
                except StatusError as error:
                    if error.status != _GONE:
                        raise
                    return await self._list_again()
                self._watch = _Watch(self._name, response, self._clock)
            event = await self._watch.event()
            if event is None:  # its time is over
                self._watch.close()
                self._watch = None
                await self._clock.sleep(BETWEEN_WATCHES)
            elif event["type"] == "ERROR":
                self._forget()
                if event["object"].get("code") != _GONE:
                    raise ConnectionLost(self._name, f"the watch ended in an error ({event['object'].get('code')})")
                return await self._list_again()
            elif self._take(event["type"], event["object"]):
                return None

    async def _list_again(self) -> None:
        await self._clock.sleep(BETWEEN_WATCHES)  # a server that forgets at once is not asked without a pause
        await self._list()

    def _take(self, kind: str, item: Mapping[str, Any]) -> bool:
        """Whether the event changes what there is."""
        self._version = item["metadata"]["resourceVersion"]
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            return False
        name = item["metadata"]["name"]
        before = self._slices.pop(name, ())
        after = () if kind == "DELETED" else tuple(endpoints_of(item, self._port))
        if kind != "DELETED":
            self._slices[name] = after
        return set(before) != set(after)

    async def _get(self, asked: Mapping[str, str]) -> Response:
        headers = [("accept", "application/json"), ("user-agent", "skerry")]
        if self._url.startswith("https:"):
            token = (self._account / "token").read_text().strip()  # a pod has it in memory, so no thread is needed
            headers.append(("authorization", f"Bearer {token}"))
        response = await self._transport.send(Request(self._name, "GET", f"{self._url}?{urlencode(asked)}", headers))
        if response.status != 200:
            response.close()
            raise StatusError(self._name, response.status)
        return response


class _Watch:
    """The events of one watch, as they come."""

    def __init__(self, name: str, response: Response, clock: Clock) -> None:
        self._response = response
        stream = Stream(response, Timing(name, None, 0.0, clock, imposed=False), most=MAX_PAGE)
        self._lines: AsyncIterator[str] = stream.aiter_lines()

    async def event(self) -> Mapping[str, Any] | None:
        """The next; None at the end. Raises `TimeoutError` when the server has been silent for too long."""
        async with asyncio.timeout(WATCH + GRACE):
            line = await anext(self._lines, None)
        if line is None:
            return None
        event: Mapping[str, Any] = json.loads(line)
        return event

    def close(self) -> None:
        self._response.close()


def endpoints_of(item: Mapping[str, Any], port: str) -> Iterable[Endpoint]:
    """Those of an EndpointSlice (discovery.k8s.io/v1) that are ready. One that cannot be an instance is left out."""
    number = _number(item.get("ports") or (), port)
    if number is None or item.get("addressType") not in {"IPv4", "IPv6"}:
        return
    for each in item.get("endpoints") or ():
        try:
            if (each.get("conditions") or {}).get("ready") is False:  # unknown means ready, says the API
                continue
            pod = (each.get("targetRef") or {}).get("uid") or ""
            yield Endpoint(each["addresses"][0], number, zone=each.get("zone") or "", instance=pod)
        except (ConfigurationError, LookupError, TypeError, AttributeError):
            continue  # all others are worth more than to know of this one


def _number(ports: Iterable[Mapping[str, Any]], wanted: str) -> int | None:
    for each in ports:
        if not wanted or wanted in {each.get("name") or "", str(each.get("port"))}:
            return each.get("port")
    return None


def _in_cluster() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
    if not host:
        raise ConfigurationError("k8s: addresses are for pods: KUBERNETES_SERVICE_HOST is not set here")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _trust(account: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=account / "ca.crt")
    except OSError as error:
        raise ConfigurationError(
            f"the certificate of the API's authority cannot be read: {account / 'ca.crt'}"
        ) from error
