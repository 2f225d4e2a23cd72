"""What deploy files, package files and specifications say, before it is joined with code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skerry.architecture.code.facts import Call
from skerry.architecture.model import Evidence, Workload
from skerry.architecture.source import Place, Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One workload with what is known of where it is built.

    `system` is the folder of the Compose project, the namespace or the skerry.toml: workloads of one system reach each other
    by name. `declared` are the workloads and topics that a skerry.toml lists for it.
    """

    workload: Workload
    system: str
    form: str
    """`compose`, `kubernetes`, `skerry`."""
    context: str | None = None
    """The folder that it is built from; None when only an image is known."""
    dockerfile: str = ""
    job: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[tuple[str, str], ...] = ()
    """Volumes, or folders of the host, with where they are seen."""
    role: str = "service"
    calls: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    routes: tuple[Call, ...] = ()
    """Of a gateway: what the specification says that is named for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """How an image is made. `base` is the image of its last stage."""

    place: Place
    base: str
    copies: tuple[tuple[str, Place], ...] = ()
    """What it takes from the folder that it is built from."""
    command: str = ""
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that another one needs. `path` is a folder of this repository; `pinned` a branch, tag or commit of git."""

    name: str
    place: Place
    path: str = ""
    git: str = ""
    pinned: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A folder that says what it is called and what it needs."""

    root: str
    place: Place
    name: str = ""
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that a specification describes: a service of a proto file, an OpenAPI document."""

    name: str
    place: Place
    kind: str
    """`proto` or `openapi`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """All that was found beside the code."""

    deployed: tuple[Deployed, ...] = ()
    dockerfiles: Mapping[str, Dockerfile] = field(default_factory=dict)
    """By path."""
    packages: Mapping[str, Package] = field(default_factory=dict)
    """By folder."""
    interfaces: tuple[Interface, ...] = ()
    guarded: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    """Hosts before which a mesh or a proxy ejects instances that fail."""
    routes: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    """By the path of a gateway's specification, where no skerry.toml says whose it is."""
    unknown: tuple[Evidence, ...] = ()
    unread: tuple[Skipped, ...] = ()
