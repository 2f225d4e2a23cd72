"""Kustomizations: which files only change others, and what building them would change that reading them does not.

An overlay is one of several alternatives, so none is applied: the base is read as it stands, and what is left open is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from skerry.architecture.manifests.reader import below, folder
from skerry.architecture.manifests.yaml import Node
from skerry.architecture.model import Evidence, Source
from skerry.architecture.source import Place

_CHANGES: Final = (
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "images",
    "namePrefix",
    "nameSuffix",
    "replacements",
    "transformers",
    "helmCharts",
)
"""What can change who a workload is, its image, or its variables; a count of replicas or a label cannot."""


def is_kustomization(path: str, node: Node) -> bool:
    """Whether a document is one, by its kind or by the name of its file."""
    return node["kind"].text in {"Kustomization", "Component"} or path.rpartition("/")[2].startswith("kustomization.")


def patches(path: str, node: Node) -> Iterator[str]:
    """The files of its patches: each is a part of a workload, and no workload by itself."""
    listed = [each["path"].text for name in ("patches", "patchesJson6902") for each in node[name].items]
    for each in (*listed, *node["patchesStrategicMerge"].texts()):
        file = below(folder(path), each) if each and "\n" not in each else None
        if file is not None:
            yield file


def unapplied(path: str, node: Node) -> Iterator[Evidence]:
    """One sentence, where building it would change what is read here."""
    changes = [name for name in _CHANGES if node[name].items or node[name].text]
    if changes:
        text = (
            f"{path}: what this kustomization changes ({', '.join(changes)}) is not applied, its base is read as it stands; "
            "give the output of `kustomize build` as a manifest"
        )
        yield Evidence(text, Source.DEPLOY, Place(path, node[changes[0]].line))
