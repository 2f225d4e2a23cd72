"""Services whose address is that of a discovery: who they are at the moment, and a word when that has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from skerry.client.discovery import Directory, Endpoint, located
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, Unreachable
from skerry.gateway.model import Addresses, GatewaySpec, Service

_PLAIN = frozenset({"http", "https"})


def looked_for(spec: GatewaySpec, addresses: Addresses) -> dict[tuple[str, str], str]:
    """The services whose address is that of a discovery, by name and address, with its scheme."""
    known = {service.name: service for service in spec.services}
    found: dict[tuple[str, str], str] = {}
    for name in spec.called:
        urls = known.get(name, Service(name)).urls or tuple(addresses.get(name, ()))
        if len(urls) == 1 and (scheme := urls[0].partition("://")[0]) not in _PLAIN:
            found[name, urls[0]] = scheme
    return found


class Instances:
    """The instances of all services that are looked for; the last good answer stands. `changed` is called in the event loop.

    `own` are the schemes whose names the engine looks up by itself, and those that stand for them; without `tls` it can call
    instances that were found by http only.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        *,
        own: Mapping[str, str] | None = None,
        tls: bool = True,
        clock: Clock = SYSTEM,
    ) -> None:
        self._changed = changed
        self._own = own or {}
        self._tls = tls
        self._clock = clock
        self._directories: dict[tuple[str, str], Directory] = {}
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    async def resolved(self, spec: GatewaySpec, addresses: Addresses) -> tuple[GatewaySpec, Addresses]:
        """The same with plain addresses only. A service of which no instance is known has none, so its routes answer 503; a first
        answer is waited for, five seconds at most. Raises `ConfigurationError` for a discovery that this engine cannot use.
        """
        found: dict[str, tuple[str, ...]] = dict(addresses)
        wanted = looked_for(spec, addresses)
        await self._follow({key for key, scheme in wanted.items() if not self._is_own(key[1], scheme)}, spec)
        for (name, url), scheme in wanted.items():
            plain = f"{self._own[scheme]}://{url.partition('://')[2]}" if self._is_own(url, scheme) else ""
            found[name] = (plain,) if plain else self._known.get((name, url), ())
        replaced = {name for name, _ in wanted}
        services = tuple(replace(one, urls=()) if one.name in replaced else one for one in spec.services)
        return replace(spec, services=services), found

    async def aclose(self) -> None:
        """Stop asking."""
        for directory in self._directories.values():
            await directory.aclose()
        self._directories.clear()

    def _is_own(self, url: str, scheme: str) -> bool:
        return scheme in self._own and "?" not in url

    async def _follow(self, wanted: set[tuple[str, str]], spec: GatewaySpec) -> None:
        for key in self._directories.keys() - wanted:
            await self._directories.pop(key).aclose()
            self._known.pop(key, None)
        fresh = [self._begin(key, spec) for key in sorted(wanted - self._directories.keys())]
        await asyncio.gather(*(_ready(directory) for directory in fresh))

    def _begin(self, key: tuple[str, str], spec: GatewaySpec) -> Directory:
        name, url = key
        place = located(name, url)
        scheme = "" if place is None else place.url.partition("://")[0]
        if place is None or scheme not in _PLAIN or (scheme == "https" and not self._tls):
            raise ConfigurationError(
                f"{url.partition('://')[0]} finds no instances that this engine can call",
                source=spec.source,
                field=f"services.{name}.url",
            )

        def told(endpoints: Sequence[Endpoint]) -> None:
            first = min(endpoint.priority for endpoint in endpoints)
            self._known[key] = tuple(f"{scheme}://{one.address}" for one in endpoints if one.priority == first)
            self._changed()

        directory = Directory(name, place.resolver, changed=told, clock=self._clock)
        self._directories[key] = directory
        return directory


async def _ready(directory: Directory) -> None:
    with suppress(Unreachable):
        await directory.ready()
