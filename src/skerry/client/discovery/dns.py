"""Instances in DNS: every address of a name (A and AAAA), or what SRV records say (RFC 2782)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from skerry.client.discovery.directory import LEAST_TTL
from skerry.client.discovery.endpoint import Answer, Endpoint, is_address, is_host
from skerry.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as Asker

MAX_TARGETS = 100
"""Names in the SRV records of one service; the others are left out."""
LIFETIME = 4.0
"""Seconds for one question, with whatever servers there are."""


class AddressResolver:
    """All addresses of `name`, of both families, each an instance at `port`. They hold as long as the records say.

    `nameserver` is address:port of the server to ask; without it those of the system. When only one family is answered, that is
    the answer. Raises `MissingExtra` at construction.
    """

    def __init__(self, name: str, *, port: int, nameserver: str = "") -> None:
        self._asker = _asker(nameserver)
        self._name = name
        self._port = port

    async def resolve(self) -> Answer:
        """See `Resolver`. Raises what the DNS library raises."""
        addresses, ttl = await _addresses(self._asker, self._name)
        return _told((Endpoint(address, self._port) for address in addresses if is_host(address)), ttl)

    async def aclose(self) -> None:
        """There is nothing to close."""


class ServiceResolver:
    """The instances that the SRV records of `name` (`_http._tcp.shop.example`) tell of, with their priorities and weights.

    A name that they lead to and that has no address is left out while others have one. `nameserver` as for `AddressResolver`.
    """

    def __init__(self, name: str, *, nameserver: str = "") -> None:
        self._asker = _asker(nameserver)
        self._name = name

    async def resolve(self) -> Answer:
        """See `Resolver`. Raises what the DNS library raises."""
        found = await self._asker.resolve(self._name, "SRV", search=False)
        records = sorted(found, key=lambda record: (record.priority, -record.weight, str(record.target)))[:MAX_TARGETS]
        told = await asyncio.gather(*(self._of(record) for record in records), return_exceptions=True)
        good = [answer for answer in told if isinstance(answer, Answer)]
        failed = [error for error in told if isinstance(error, BaseException)]
        if failed and not good:
            raise failed[0]
        ttls = [float(found.chaining_result.minimum_ttl), *(answer.ttl for answer in good)]
        return _told((endpoint for answer in good for endpoint in answer.endpoints), min(ttls))

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _of(self, record: Any) -> Answer:
        name = record.target.to_text(omit_final_dot=True)
        if not name or name == ".":  # RFC 2782: decidedly no such service
            return Answer((), float("inf"))
        addresses, ttl = ([name], float("inf")) if is_address(name) else await _addresses(self._asker, name)
        weight = max(1, record.weight)  # RFC 2782 gives those without a weight a very small chance, not none
        made = (
            Endpoint(each, record.port, weight=weight, priority=record.priority) for each in addresses if is_host(each)
        )
        return Answer(tuple(made), ttl)


def _told(endpoints: Iterable[Endpoint], ttl: float) -> Answer:
    # records may say 0, which of an `Answer` means something else: that the next one waits for changes
    return Answer(tuple(endpoints), max(LEAST_TTL, ttl))


async def _addresses(asker: Asker, name: str) -> tuple[list[str], float]:
    """Every address of a name, and for how many seconds they hold."""
    from dns.resolver import NoAnswer

    told = await asyncio.gather(*(asker.resolve(name, kind) for kind in ("A", "AAAA")), return_exceptions=True)
    good = [answer for answer in told if not isinstance(answer, BaseException)]
    if not good:
        raise next((e for e in told if isinstance(e, BaseException) and not isinstance(e, NoAnswer)), told[0])  # type: ignore[misc]
    addresses = [record.to_text() for answer in good for record in answer]
    return addresses, float(min(answer.chaining_result.minimum_ttl for answer in good))


def _asker(nameserver: str) -> Asker:
    try:
        from dns.asyncresolver import Resolver
        from dns.resolver import NoResolverConfiguration
    except ImportError as error:
        raise MissingExtra("looking for instances in DNS", "dns") from error
    try:
        asker = Resolver(configure=not nameserver)
    except NoResolverConfiguration as error:
        raise ConfigurationError("this machine has no name server: give one as ?nameserver=address:port") from error
    if nameserver:
        address, _, port = nameserver.rpartition(":")
        address = address.strip("[]")
        if not is_address(address) or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"{nameserver[:80]!r} is no name server: use address:port, such as 127.0.0.1:53")
        asker.nameservers = [address]
        asker.port = int(port)
    asker.lifetime = LIFETIME
    return asker
