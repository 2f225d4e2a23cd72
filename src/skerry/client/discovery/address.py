"""Where the instances of a service are looked for, by the address that the client is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from skerry.client.discovery.endpoint import Answer, Endpoint, Resolver, is_address, is_host
from skerry.client.discovery.etcd import EtcdRegistry, EtcdResolver
from skerry.client.discovery.kubernetes import KubernetesResolver
from skerry.errors import ConfigurationError

MOST_WRITTEN = 100
"""Addresses in one URL."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Located:
    """Where requests for a service go: `url` is what they are made out to, `resolver` finds who takes them.

    `named`: instances are asked for in the service's name, which stands in the Host header and has to be in their certificates.
    Otherwise each goes by its own.
    """

    url: str
    resolver: Resolver
    named: bool
    _origin: str = field(init=False)

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        object.__setattr__(self, "_origin", f"{scheme}://{rest.partition('/')[0]}")

    def rest_of(self, url: str) -> str | None:
        """What follows the origin in the URL of a request; None for a request to another origin."""
        origin = self._origin
        rest = url[len(origin) :]
        return rest if url.startswith(origin) and rest[:1] in {"", "/", "?"} else None

    def at(self, endpoint: Endpoint, rest: str) -> tuple[str, str]:
        """The URL at one instance, and the name it is asked for by where that is another."""
        scheme, _, authority = self._origin.partition("://")
        return f"{scheme}://{endpoint.address}{rest}", authority if self.named else ""


def located(service: str, url: str) -> Located | None:
    """What the address of a service says of its instances; None when it is the address of one.

    Raises `ConfigurationError`, or `MissingExtra` when what it asks for is not installed.
    """
    scheme = url.partition("://")[0]
    if scheme in _PORTS:
        authority = url.partition("://")[2].partition("/")[0]
        return _written(service, url) if "," in authority else None
    find = _FINDERS.get(scheme)
    if find is None:
        return None
    if not url.isascii() or not url.isprintable() or ("@" in url and find is not _etcd) or "#" in url:
        raise ConfigurationError(f"the address of {service!r} is plain ASCII without credentials: {scheme}://...")
    try:
        parts = urlsplit(url)
        if find is not _etcd:  # which may have several hosts
            parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ConfigurationError(f"the address of {service!r} is not a URL") from error
    return find(service, parts)


class _Written:
    """Instances that somebody has written down, which are always the same."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._answer = Answer(endpoints, ttl=60.0)

    async def resolve(self) -> Answer:
        """See `Resolver`."""
        return self._answer

    async def aclose(self) -> None:
        """There is nothing to close."""


def _written(service: str, url: str) -> Located:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    addresses = authority.split(",")
    if len(addresses) > MOST_WRITTEN:
        raise ConfigurationError(f"the address of {service!r} names more than {MOST_WRITTEN} instances")
    endpoints = []
    for address in addresses:
        try:
            parts = urlsplit(f"//{address}")
            host, port = parts.hostname, parts.port or _PORTS[scheme]
        except ValueError:
            host, port = None, 0
        if not host or "@" in address or not is_host(host):
            raise ConfigurationError(f"the address of {service!r} must look like {scheme}://one:80,other:80")
        endpoints.append(Endpoint(host, port))
    return Located(f"{scheme}://{endpoints[0].address}{slash}{path}", _Written(tuple(endpoints)), named=False)


def _dns(service: str, parts: SplitResult) -> Located:
    from skerry.client.discovery.dns import AddressResolver

    scheme = parts.scheme.partition("+")[2]
    name = _name(service, parts)
    resolver = AddressResolver(
        name, port=parts.port or _PORTS[scheme], nameserver=_option(service, parts, "nameserver")
    )
    return Located(f"{scheme}://{parts.netloc}{parts.path}", resolver, named=True)


def _srv(service: str, parts: SplitResult) -> Located:
    from skerry.client.discovery.dns import ServiceResolver

    scheme = parts.scheme.partition("+")[2]
    name = _name(service, parts)
    labels = name.split(".")
    if parts.port is not None or len(labels) < 3 or not all(label.startswith("_") for label in labels[:2]):
        raise ConfigurationError(f"the address of {service!r} must look like {parts.scheme}://_http._tcp.name")
    resolver = ServiceResolver(name, nameserver=_option(service, parts, "nameserver"))
    return Located(f"{scheme}://{'.'.join(labels[2:])}{parts.path}", resolver, named=True)


def _kubernetes(service: str, parts: SplitResult) -> Located:
    name, _, port = parts.path.removeprefix("/").partition(":")
    if parts.query or parts.port is not None:
        raise ConfigurationError(f"the address of {service!r} must look like {parts.scheme}://namespace/service:port")
    resolver = KubernetesResolver(parts.netloc, name, port=port)
    scheme = parts.scheme.partition("+")[2] or "http"
    return Located(f"{scheme}://{name}.{parts.netloc}.svc", resolver, named=True)


def _etcd(service: str, parts: SplitResult) -> Located:
    name = parts.path.removeprefix("/")
    if not name:
        raise ConfigurationError(f"the address of {service!r} must look like {parts.scheme}://host:2379/service")
    registry = EtcdRegistry(f"{parts.scheme}://{parts.netloc}{'?' * bool(parts.query)}{parts.query}")
    scheme = parts.scheme.partition("+")[2] or "http"
    return Located(f"{scheme}://{name}", EtcdResolver(registry, name), named=True)


def _name(service: str, parts: SplitResult) -> str:
    name = parts.hostname or ""
    if not is_host(name) or is_address(name):
        raise ConfigurationError(f"the address of {service!r} needs a name of DNS: {parts.scheme}://name")
    return name


def _option(service: str, parts: SplitResult, name: str) -> str:
    """The value of the one option there is; empty when it is not given."""
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=2)
    if not pairs and not parts.query:
        return ""
    if len(pairs) != 1 or pairs[0][0] != name or not pairs[0][1]:
        raise ConfigurationError(f"the address of {service!r} has an option other than {name}=")
    return pairs[0][1]


_FINDERS: dict[str, Callable[[str, SplitResult], Located]] = {
    "dns+http": _dns,
    "dns+https": _dns,
    "etcd": _etcd,
    "etcd+https": _etcd,
    "k8s": _kubernetes,
    "k8s+https": _kubernetes,
    "srv+http": _srv,
    "srv+https": _srv,
}
