"""A registry on etcd: instances announce themselves under a lease, and whoever looks is told of every change.

It speaks the JSON form of etcd's API (version 3.4 and later) over our own transport, so it needs no package.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from skerry.client.decoding import whole
from skerry.client.discovery.endpoint import MAX_ENDPOINTS, Answer, Endpoint, is_host
from skerry.client.network import HttpTransport
from skerry.client.stream import Stream, Timing
from skerry.client.transport import Request, Response
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, SkerryError, StatusError
from skerry.signals import RegistrationChanged, emit

LEASE = 15
"""Seconds after which an instance that has said nothing is forgotten. It says something three times as often."""
QUESTION = 5.0
"""Seconds for one question, and until a watch has begun."""
WATCH = 60.0
"""Seconds without news, after which everything is asked for again, in case that news could not get through."""
MAX_REPLY = 16 * 2**20
"""Bytes of a reply."""
PREFIX = "skerry/instances/"
_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,62}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class EtcdRegistry:
    """The instances of all services, under `skerry/instances/SERVICE/ID` in etcd.

    `url` is `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST...]`, with `etcd+https` over TLS. Who may announce what is for etcd's own
    users and roles to say: give each service the right to write below its own name, and to read what it calls. What is read is
    checked: an entry that is no instance is left out. Raises `ConfigurationError` when it is made; its methods `CallError`.
    """

    def __init__(self, url: str, *, clock: Clock = SYSTEM) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ConfigurationError("the address of etcd cannot be read") from None
        login, _, where = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        scheme = {"etcd": "http", "etcd+https": "https"}.get(parts.scheme)
        hosts = [_with_port(host) for host in where.split(",")]
        if scheme is None or None in hosts or parts.query or parts.fragment:
            raise ConfigurationError("the address of etcd must look like etcd://user:password@host:2379")
        self._hosts = [f"{scheme}://{host}" for host in hosts]
        self._login = {"name": unquote(user), "password": unquote(password)} if user else None
        self._token = ""
        self._clock = clock
        self._transport = HttpTransport()

    async def instances(self, service: str) -> tuple[list[Endpoint], int]:
        """Those of a service, and the revision of the registry at which there were no others."""
        asked = {**_below(service), "limit": str(MAX_ENDPOINTS + 1)}
        told = await self._ask("kv/range", asked)
        return list(_endpoints(service, told.get("kvs") or ())), int(told["header"]["revision"])

    async def changed(self, service: str, revision: int) -> None:
        """Return when the instances of a service are others than at `revision`, or may be; after a minute at the latest."""
        create = {**_below(service), "start_revision": str(revision + 1)}
        async with asyncio.timeout(QUESTION):
            response = await self._send("watch", {"create_request": create})
        try:
            stream = Stream(response, Timing("etcd", None, 0.0, self._clock, imposed=False), most=MAX_REPLY)
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH):
                    async for line in stream.aiter_lines():
                        told = json.loads(line)["result"]
                        if told.get("events") or told.get("canceled"):  # canceled: that revision is forgotten
                            return
        finally:
            response.close()

    @asynccontextmanager
    async def registered(self, service: str, endpoint: Endpoint) -> AsyncIterator[None]:
        """Announce an instance, known by `endpoint.instance`, inside the block. It is withdrawn at the end.

        While etcd cannot be reached the announcement is tried again and again; a service does not end with its registry.
        Raises `CallError` when it cannot be announced at first.
        """
        _below(service)
        if not _ID.fullmatch(endpoint.instance):
            raise ConfigurationError(f"an instance that is announced needs an id, unlike {endpoint.instance[:80]!r}")
        entry = _Entry(service, endpoint)
        await self._announce(entry)
        keeping = asyncio.get_running_loop().create_task(self._keep(entry), name=f"lease of {service}")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            with suppress(SkerryError, TimeoutError):  # the lease ends by itself
                await self._ask(
                    "lease/revoke", {"ID": entry.lease}
                )  # and not the entry, which may be a successor's by now
            entry.tell("withdrawn")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _announce(self, entry: _Entry) -> None:
        lease: str = (await self._ask("lease/grant", {"TTL": str(LEASE)}))["ID"]
        await self._ask("kv/put", {"key": entry.key, "value": entry.value, "lease": lease})
        entry.lease = lease
        entry.tell("announced")

    async def _keep(self, entry: _Entry) -> None:
        while True:  # until it is withdrawn
            await self._clock.sleep(LEASE / 3)
            try:
                if entry.state == "announced":
                    told = await self._ask("lease/keepalive", {"ID": entry.lease})
                    if int(told["result"].get("TTL", "0")) > 0:
                        continue
                await self._announce(entry)  # its lease has ended, or may have
            except Exception:  # whatever it was, the entry may be gone by now
                entry.tell("in doubt")

    async def _ask(self, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(QUESTION):
            response = await self._send(what, asked)
            try:
                told: dict[str, Any] = json.loads((await whole("etcd", response, most=MAX_REPLY)).content)
            finally:
                response.close()
        return told

    async def _send(self, what: str, asked: Mapping[str, Any]) -> Response:
        if self._login and not self._token and what != "auth/authenticate":
            self._token = (await self._ask("auth/authenticate", self._login))["token"]
        headers = [("content-type", "application/json")]
        if self._token:
            headers.append(("authorization", self._token))
        url = f"{self._hosts[0]}/v3/{what}"
        try:
            response = await self._transport.send(Request("etcd", "POST", url, headers, json.dumps(asked).encode()))
            if response.status != 200:
                response.close()
                raise StatusError("etcd", response.status)
        except BaseException:
            self._token = ""  # it may be too old
            self._hosts.append(self._hosts.pop(0))  # the next question goes to the next
            raise
        return response


class _Entry:
    """What one instance has announced of itself."""

    def __init__(self, service: str, endpoint: Endpoint) -> None:
        self._service = service
        self._instance = endpoint.instance
        value = {"host": endpoint.host, "port": endpoint.port, "zone": endpoint.zone, "weight": endpoint.weight}
        self.key = _coded(f"{PREFIX}{service}/{endpoint.instance}")
        self.value = _coded(json.dumps(value))
        self.lease = ""
        self.state = ""

    def tell(self, state: str) -> None:
        """Another state, or the same with another lease."""
        if state != self.state or state == "announced":
            self.state = state
            emit(RegistrationChanged(service=self._service, instance=self._instance, state=state))


class EtcdResolver:
    """The instances of one service in a registry; waits for changes. See `Resolver`."""

    def __init__(self, registry: EtcdRegistry, service: str) -> None:
        self._registry = registry
        self._service = service
        self._revision = 0
        _below(service)

    async def resolve(self) -> Answer:
        """See `Resolver`. Raises `CallError`, and what comes of a reply that is not as etcd says."""
        revision, self._revision = self._revision, 0
        if revision:
            await self._registry.changed(self._service, revision)
        endpoints, self._revision = await self._registry.instances(self._service)
        return Answer(tuple(endpoints))

    async def aclose(self) -> None:
        """Close the registry's connections."""
        await self._registry.aclose()


def _endpoints(service: str, entries: Iterable[Mapping[str, str]]) -> Iterable[Endpoint]:
    for entry in entries:
        try:
            key, told = b64decode(entry["key"]).decode(), json.loads(b64decode(entry["value"]))
            name = key.removeprefix(f"{PREFIX}{service}/")
            if not _ID.fullmatch(name):
                continue
            yield Endpoint(
                told["host"], told["port"], zone=told.get("zone", ""), weight=told.get("weight", 1), instance=name
            )
        except (ConfigurationError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue  # somebody wrote something else there


def _below(service: str) -> dict[str, str]:
    """The range of keys of a service."""
    if not _SERVICE.fullmatch(service):
        raise ConfigurationError(f"{service[:80]!r} is no name of a service: use a-z, 0-9 and hyphens")
    start = f"{PREFIX}{service}/"
    return {"key": _coded(start), "range_end": _coded(start[:-1] + "0")}  # "0" comes after "/"


def _coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _with_port(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port or 2379
    except ValueError:
        return None
    if not is_host(name) or parts.path:
        return None
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
