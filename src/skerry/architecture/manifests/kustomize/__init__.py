"""Kustomizations: which files only change others, and what a workload is once an overlay was applied to it.

Overlays are applied on disk, with no process and no network: patches, images, names, the namespace, generated ConfigMaps. Of
alternatives that build on the same manifests one is read, the one for production where it can be told; what is not understood,
and which alternatives were left out, is said.
"""

from __future__ import annotations

from skerry.architecture.manifests.kustomize.building import Built, Document, build
from skerry.architecture.manifests.kustomize.said import Kustomization, is_kustomization

__all__ = ["Built", "Document", "Kustomization", "build", "is_kustomization"]
