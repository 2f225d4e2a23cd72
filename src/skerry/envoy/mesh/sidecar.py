"""What a sidecar is told: plain values, made without Envoy and without its packages.

caller -> loopback port of its sidecar -> TLS 1.3, both sides proven, HTTP/2 -> sidecar of the callee -> its unix socket
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.envoy.mesh import inbound, outbound
from skerry.envoy.mesh.identity import Identity
from skerry.envoy.mesh.tls import AUTHORITIES, IDENTITY
from skerry.envoy.plain import Plain
from skerry.envoy.resources import Resources

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A service that is called: `listen` is the port of the loopback at which its caller's sidecar takes the calls, `port`
    that of the callee's own sidecar.
    """

    service: str
    listen: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """One service's. `callers` are the services that may call it; `port` is where they do, None for one that nobody can call.

    `socket` is the unix socket at which the service itself answers HTTP, `grpc` the one for gRPC where it has one. `longest`
    is how many seconds a connection between sidecars is used at most, so that none outlives what it was proven with by much.
    """

    system: str
    service: str
    port: int | None = None
    socket: Path | None = None
    grpc: Path | None = None
    callers: tuple[str, ...] = ()
    calls: tuple[Callee, ...] = ()
    longest: float = 1800.0

    def resources(self) -> Resources:
        """Its listeners and clusters, without the secrets that they name."""
        clusters: dict[str, Plain] = {}
        listeners: dict[str, Plain] = {}
        if self.port is not None and self.socket is not None:
            listeners[inbound.NAME] = inbound.listener(
                HOST,
                self.port,
                system=self.system,
                callers=self.callers,
                grpc=self.grpc is not None,
                longest=self.longest,
            )
            clusters[inbound.APP] = inbound.cluster(self.socket)
            if self.grpc is not None:
                clusters[inbound.GRPC] = inbound.cluster(self.grpc, http2=True)
        for callee in self.calls:
            name = outbound.name_for(callee.service)
            listeners[name] = outbound.listener(HOST, callee.listen, callee=callee.service)
            clusters[name] = outbound.cluster(
                HOST, callee.port, system=self.system, callee=callee.service, longest=self.longest
            )
        return Resources(clusters=clusters, listeners=listeners)


def secrets(identity: Identity, authorities: str) -> dict[str, Plain]:
    """What proves who a sidecar is, and whom it believes, as Envoy's secrets."""
    pair = {"certificate_chain": {"inline_string": identity.chain}, "private_key": {"inline_string": identity.key}}
    return {
        IDENTITY: {"name": IDENTITY, "tls_certificate": pair},
        AUTHORITIES: {"name": AUTHORITIES, "validation_context": {"trusted_ca": {"inline_string": authorities}}},
    }
