"""Calls that come in: proven by a certificate, allowed by the caller's name, handed to the service over its unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from skerry.envoy.mesh import http, tls
from skerry.envoy.mesh.identity import spiffe_name
from skerry.envoy.plain import Plain, extension

NAME: Final = "inbound"
APP, GRPC = "local~http", "local~grpc"
"""No service has such a name."""
APP_IDLE: Final = 3.0
"""Seconds: shorter than the five after which services close an idle connection, so that no request meets a closing one."""


def listener(host: str, port: int, *, system: str, callers: tuple[str, ...], grpc: bool, longest: float) -> Plain:
    """Where the sidecars of `callers` call."""
    manager = http.manager(
        NAME,
        routes(grpc=grpc),
        filters=[only(system, callers)],
        longest=longest,
        # What a caller says of its own certificate is replaced by what it has shown.
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"uri": True},
    )
    return http.listener(NAME, host, port, manager=manager, tls=tls.downstream(system))


def only(system: str, callers: tuple[str, ...]) -> Plain:
    """The filter that answers 403 to everybody but `callers`; with none, to everybody."""
    names = [{"authenticated": {"principal_name": {"exact": spiffe_name(system, caller)}}} for caller in callers]
    policies = {"callers": {"permissions": [{"any": True}], "principals": names}} if names else {}
    return extension(
        "envoy.filters.http.rbac",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        rules={"action": "ALLOW", "policies": policies},
    )


def routes(*, grpc: bool) -> list[Plain]:
    """To the service, without a time-out: the caller has one, and says it in a header."""
    found: list[Plain] = []
    if grpc:
        kind = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
        found.append(
            {"match": {"prefix": "/", "headers": [kind]}, "route": {"cluster": GRPC, "timeout": "0s"}},
        )
    return [*found, {"match": {"prefix": "/"}, "route": {"cluster": APP, "timeout": "0s"}}]


def cluster(socket: Path, *, http2: bool = False) -> Plain:
    """The service itself, at its unix socket. Not ejected, for it sheds load and drains by its own rules."""
    name, idle = (GRPC, http.IDLE) if http2 else (APP, APP_IDLE)
    return http.cluster(name, http.at_socket(socket), idle=idle, http2=http2, circuit_breakers=http.thresholds())
