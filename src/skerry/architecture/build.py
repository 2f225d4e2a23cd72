"""Builds the model of a system from its manifests, its code and, where there are some, its traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from skerry.architecture import manifests
from skerry.architecture.code.facts import Code
from skerry.architecture.joining import bonds
from skerry.architecture.joining import services as joined
from skerry.architecture.joining.edges import Edges
from skerry.architecture.joining.observed import Runtime
from skerry.architecture.joining.services import Found
from skerry.architecture.joining.stores import Stores
from skerry.architecture.model import Datastore, Evidence, Source, SystemModel, Use
from skerry.architecture.source import Files
from skerry.architecture.traces.spans import Traces


def build(
    files: Files, code: Code, traces: Traces | None = None, *, given: Sequence[tuple[str, bytes]] = ()
) -> SystemModel:
    """The model of what `files` hold. `given` are further manifests, by name: what `helm template` or `kustomize build` printed.

    What cannot be resolved is in `unknown`; nothing that is written in a file makes it raise.
    """
    read = manifests.read(files, given)
    found = joined.find(files, code, read)
    stores = Stores(found, code)
    stores.read()
    edges = Edges(found, code, read)
    edges.read()
    unread = (Evidence(f"{each.file}: {each.why}", Source.DEPLOY) for each in read.unread)
    model = SystemModel(
        services=dict(sorted(found.services.items())),
        stores=dict(sorted(stores.stores.items())),
        uses=stores.uses(),
        edges=edges.edges(),
        externals=tuple(sorted(edges.externals)),
        guarded=_guarded(read.guarded, found, edges),
        routed=edges.routed,
        unknown=tuple(dict.fromkeys((*read.unknown, *unread, *found.unknown, *stores.unknown, *edges.unknown))),
    )
    model = replace(model, bonds=bonds.find(code, read, model))
    return model if traces is None else _observed(model, traces, found)


def _guarded(hosts: Mapping[str, tuple[Evidence, ...]], found: Found, edges: Edges) -> dict[str, tuple[Evidence, ...]]:
    guarded: dict[str, tuple[Evidence, ...]] = {}
    for host, evidence in hosts.items():
        short = host.partition(".")[0]
        service = next((name for (_, other), name in found.hosts.items() if other == short), None) or edges.named(short)
        if service:
            guarded[service] = (*guarded.get(service, ()), *evidence)
    return guarded


def _observed(model: SystemModel, traces: Traces, found: Found) -> SystemModel:
    runtime = Runtime(traces, model.services, {host: name for (_, host), name in found.hosts.items()})
    stores, uses = dict(model.stores), {(use.service, use.store): use for use in model.uses}
    for (service, identity), (store, use) in runtime.databases.uses().items():
        same = _same(store, stores, found)
        stores.setdefault(same, store)
        known = uses.get((service, same))
        uses[service, same] = _both(known, use) if known else replace(use, store=same)
        del identity
    services = {**model.services, **runtime.new()}
    return replace(
        model,
        services=dict(sorted(services.items())),
        stores=dict(sorted(stores.items())),
        uses=tuple(uses[key] for key in sorted(uses)),
        edges=runtime.edges(model.edges),
    )


def _both(first: Use, other: Use) -> Use:
    evidence = (*first.evidence, *other.evidence)
    return replace(first, reads=first.reads | other.reads, writes=first.writes | other.writes, evidence=evidence)


def _same(store: Datastore, known: dict[str, Datastore], found: Found) -> str:
    """The identity under which manifests already know a store that a trace shows."""
    host = store.server.rpartition(":")[0] or store.server
    short = host.partition(".")[0] if ".svc" in host else host  # as Kubernetes calls it from elsewhere
    names = {host, short} | {
        each.workload.name for (_, other), (_, each) in found.stores.items() if other in {host, short}
    }
    for identity, other in known.items():
        other_host = other.server.rpartition("/")[2].rpartition(":")[0] or other.server.rpartition("/")[2]
        if other.kind == store.kind and other.database == store.database and other_host in names:
            return identity
    return store.identity
