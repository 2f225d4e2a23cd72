"""Mutual TLS between services: what a sidecar is told, who it is, and how it gets its next certificate.

    sidecar = Sidecar(system="shop", service="payment", port=15001, socket=Path("payment.http"), callers=("order",))
    rotation = Rotation([sidecar], Authority(Path("var/mesh"), system="shop"), ads)
    rotation.begin()

`skerry run --mesh` does all of it for a system; see `skerry.deploy`.
"""

from __future__ import annotations

from skerry.envoy.mesh.authority import LEAF_LIFETIME, LONGEST, SHORTEST, Authority
from skerry.envoy.mesh.certificates import CertificateFolder, write_folder
from skerry.envoy.mesh.identity import Identity, Source, spiffe_name
from skerry.envoy.mesh.rotation import Rotation, SidecarInfo
from skerry.envoy.mesh.sidecar import Callee, Sidecar, secrets

__all__ = [
    "LEAF_LIFETIME",
    "LONGEST",
    "SHORTEST",
    "Authority",
    "Callee",
    "CertificateFolder",
    "Identity",
    "Rotation",
    "Sidecar",
    "SidecarInfo",
    "Source",
    "secrets",
    "spiffe_name",
    "write_folder",
]
