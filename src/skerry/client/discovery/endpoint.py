"""What discovery tells: instances by address, checked before anything is sent to one; and the port of whatever finds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from skerry.errors import ConfigurationError

MAX_ENDPOINTS = 10_000
"""Instances of one service in an answer. A larger answer is taken for an error."""
MAX_WEIGHT = 65535
_NAME = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-zA-Z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-zA-Z0-9_-]{1,63}(?<!-)\.?")
_LABEL = re.compile(r"[A-Za-z0-9._:/-]{0,253}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One instance of a service: where it listens, and what a balancer should know of it.

    `host` is an address, or a name for those whom an operator has written down. `instance` tells it from another that listened
    there before. Of endpoints with different `priority` the lowest that works is used; `weight` is its share beside others.
    Raises `ConfigurationError` for what cannot be one: another thing than a host, a port out of range, and addresses that lead to
    no instance of anything, such as multicast or link-local ones, behind which clouds keep credentials.
    """

    host: str
    port: int
    zone: str = ""
    weight: int = 1
    instance: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        host: object = self.host
        if not isinstance(host, str) or not is_host(host):  # a number would be read as an address
            raise ConfigurationError(f"{str(host)[:80]!r} is not the address of an instance")
        for what, value, least, most in (
            ("port", self.port, 1, 65535),
            ("weight", self.weight, 1, MAX_WEIGHT),
            ("priority", self.priority, 0, 65535),
        ):
            if type(value) is not int or not least <= value <= most:
                raise ConfigurationError(f"the {what} of an instance is from {least} to {most}, unlike {value!r:.80}")
        for what, text in (("zone", self.zone), ("id", self.instance)):
            if not _LABEL.fullmatch(text):
                raise ConfigurationError(f"{text[:80]!r} is not the {what} of an instance")

    @property
    def address(self) -> str:
        """As it stands in a URL: host:port, an address of IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """All instances of a service as of now, and after how many seconds to ask again; 0 for a resolver that waits for changes."""

    endpoints: tuple[Endpoint, ...]
    ttl: float = 0.0


class Resolver(Protocol):
    """Finds the instances of one service. Asked by one task at a time.

    It may raise whatever it likes: the last good answer stands, as it does for an empty one, and it is asked again.
    """

    async def resolve(self) -> Answer:
        """All instances. The first time at once; after that one that watches returns when something has changed."""
        ...

    async def aclose(self) -> None:
        """Close what it has open."""
        ...


def is_host(text: str) -> bool:
    """Whether it is a name of DNS, or an address at which an instance can be."""
    try:
        address = ip_address(text)
    except ValueError:
        # what ends like a number would be read as an address by some, and as another by others
        last = text.rstrip(".").rpartition(".")[2]
        return _NAME.fullmatch(text) is not None and not last[:1].isdigit()
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    address = inner or address
    return not (address.is_unspecified or address.is_multicast or address.is_link_local or str(address) == _BROADCAST)


def is_address(text: str) -> bool:
    """Whether it is an address and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_BROADCAST = "255.255.255.255"
