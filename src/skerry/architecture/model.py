"""A system as it was found: services, what they keep their data in, topics, and who reaches whom.

What code says and what traces show land on the same edge, so each confirms or contradicts the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from skerry.architecture.code.facts import Call, Message
from skerry.architecture.source import Place


class Source(StrEnum):
    """Where a piece of evidence comes from."""

    CODE = "code"
    DEPLOY = "deploy"
    MIGRATION = "migration"
    SPEC = "spec"
    """OpenAPI, proto, skerry.toml."""
    GIT = "git"
    TRACE = "trace"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation. Its text never carries a secret."""

    text: str
    source: Source
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """An environment variable of a service. `value` is None when it is a secret or is set elsewhere; `secret` says which."""

    value: str | None
    place: Place | None = None
    secret: str = ""
    """`name/key` of the secret that it is taken from: equal texts are equal values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One process or container that is deployed: a Compose service, a Kubernetes workload."""

    name: str
    place: Place | None
    image: str = ""
    command: str = ""
    hosts: tuple[str, ...] = ()
    """Names that others reach it by."""
    ports: tuple[int, ...] = ()
    env: Mapping[str, Setting] = field(default_factory=dict)
    waits_for: tuple[str, ...] = ()
    """What must be up before it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is built and deployed as one: one image or one code root, whatever number of workloads run from it."""

    name: str
    roots: tuple[str, ...] = ()
    """Folders of its code, `` for the root of the repository."""
    workloads: tuple[Workload, ...] = ()
    language: str = "python"
    role: str = "service"
    """`service`, `gateway`, `frontend`, `job` (migrations and the like), `library` (code that several are built with)."""
    lines: int = 0
    """Of code, tests left out."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastore:
    """One database of one server. Equal `identity` is the same database, `server` the same server."""

    identity: str
    kind: str
    """`postgresql`, `mysql`, `mongodb`, `sqlite`, `clickhouse`, `redis`, ..."""
    server: str
    database: str = ""
    schema: str = ""
    broker: bool = False
    """It carries messages, or is a cache: sharing it is not sharing data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """That a service keeps data in a store; which tables, as far as is known."""

    service: str
    store: str
    """The identity of the `Datastore`."""
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What traces show of an edge. Seconds."""

    count: int
    traces: int
    p50: float
    p99: float
    longest: float
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """That one service reaches another. `waits`: it needs the answer; else it is a message."""

    caller: str
    callee: str
    waits: bool
    protocol: str = "http"
    topic: str = ""
    """Of a message; `caller` is the producer, `callee` a consumer."""
    calls: tuple[Call, ...] = ()
    messages: tuple[Message, ...] = ()
    observed: Observed | None = None
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Bond:
    """That `service` cannot be built or started without `other`'s code. `contract`: only what describes its interface."""

    service: str
    other: str
    how: str
    place: Place
    source: Source
    contract: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemModel:
    """Everything that was found, each list sorted by name."""

    services: Mapping[str, Service] = field(default_factory=dict)
    stores: Mapping[str, Datastore] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()
    edges: tuple[Edge, ...] = ()
    externals: tuple[str, ...] = ()
    """Hosts that are called and are no service of this system."""
    guarded: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    """Services before which a mesh or a proxy stands that ejects them when they fail."""
    routed: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    """What the specification of a gateway says of requests that it hands on, by the service that the gateway is."""
    bonds: tuple[Bond, ...] = ()
    unknown: tuple[Evidence, ...] = ()
    """What could not be resolved: a variable without a value, a manifest that is a template."""

    _by_root: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """A root to its service; files are many, and so may services be."""

    def __post_init__(self) -> None:
        roots = sorted((root, name) for name, service in self.services.items() for root in service.roots)
        object.__setattr__(self, "_by_root", dict(roots))

    def service_of(self, file: str) -> str | None:
        """The service that `file` belongs to: the one with the longest root above it."""
        above = file
        while above and above not in self._by_root:
            above = above.rpartition("/")[0]
        return self._by_root.get(above)
