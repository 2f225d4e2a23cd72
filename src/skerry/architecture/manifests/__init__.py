"""Reads deploy files, package files and specifications of a repository."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.architecture.manifests import (
    compose,
    dockerfile,
    gateway_yaml,
    interfaces,
    kubernetes,
    packages,
    skerry_toml,
)
from skerry.architecture.manifests.found import Dependency, Deployed, Dockerfile, Interface, Manifests, Package
from skerry.architecture.manifests.reader import Reader
from skerry.architecture.source import Files

__all__ = ["Dependency", "Deployed", "Dockerfile", "Interface", "Manifests", "Package", "read"]


def read(files: Files, given: Sequence[tuple[str, bytes]] = ()) -> Manifests:
    """All that is said beside the code. `given` are further manifests by name, such as what `helm template` printed.

    Never raises for what is written in a file: what cannot be read is listed in `unread`.
    """
    reader = Reader(files, given)
    cluster = kubernetes.read(reader)
    guarded = {host: tuple(evidence) for host, evidence in cluster.guarded.items()}
    for host, evidence in kubernetes.proxy_guards(reader):
        guarded[host] = (*guarded.get(host, ()), evidence)
    dockerfiles = {}
    for path in reader.paths:
        if dockerfile.is_dockerfile(path.rpartition("/")[2]):
            found = dockerfile.read(path, reader.text(path))
            if found is not None:
                dockerfiles[path] = found
    deployed = (*skerry_toml.read(reader), *compose.read(reader), *cluster.deployed)
    said = {call.place.file for each in deployed for call in each.routes}
    loose = [path for path in reader.paths if path.rpartition("/")[2] in gateway_yaml.NAMES and path not in said]
    return Manifests(
        deployed=deployed,
        dockerfiles=dockerfiles,
        packages=packages.read(reader),
        interfaces=tuple(interfaces.read(reader)),
        guarded=guarded,
        routes={path: calls for path in loose if (calls := gateway_yaml.read(reader, path))},
        unknown=tuple(cluster.unknown),
        unread=tuple(dict.fromkeys(reader.skipped)),
    )
