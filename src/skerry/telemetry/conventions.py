"""What OpenTelemetry's semantic conventions say of names, values and buckets, as far as it is needed here.

Source: OpenTelemetry semantic conventions 1.45.0: HTTP and RPC (stable), messaging (in development).
"""

from __future__ import annotations

from typing import Final

from skerry.telemetry.encoding import Value

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The edges of a histogram of durations that they recommend, for HTTP, RPC and messaging alike."""
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"])
OTHER: Final = "_OTHER"
SERVER_FAULTS: Final = frozenset(
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]
)
"""Statuses of gRPC that are errors to who answers. To who calls every status but OK is one."""
MESSAGING_SYSTEM: Final = "skerry"
"""`messaging.system`: the bus, whatever broker is below it."""
MAX_PATH: Final = 500
"""Characters of a path that a span keeps."""


def known(method: str) -> str:
    """A method of HTTP, or the word for all others: a caller can make up as many as it likes."""
    return method if method in METHODS else OTHER


def span_name(method: str, route: str) -> str:
    """Of a request: its method and the pattern of its path."""
    called = method if method in METHODS else "HTTP"
    return f"{called} {route}" if route else called


def request_of(method: str) -> dict[str, Value]:
    """The attributes that tell the method."""
    if method in METHODS:
        return {"http.request.method": method}
    return {"http.request.method": OTHER, "http.request.method_original": method[:40]}


def rpc_of(method: str) -> dict[str, Value]:
    """The attributes that tell a method over gRPC."""
    return {"rpc.system.name": "grpc", "rpc.method": method}
