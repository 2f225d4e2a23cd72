"""HTTP as sidecars read and write it: as little changed as can be, and everything bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from skerry.envoy.plain import Plain, extension, seconds, typed

HEAD_KIB: Final = 96
"""Of a request's headers: more than a service takes, so that the service is who refuses."""
HEADERS: Final = 200
CONNECTIONS: Final = 4096
"""Of a listener, and of a cluster; beyond that they are refused."""
REQUESTS: Final = 4096
"""Under way at the same time, of a cluster."""
CONNECT: Final = 2.0
"""Seconds for a connection and its handshake; generous, for a machine may be busy."""
IDLE: Final = 300.0
"""Seconds without a byte after which a stream, or an open connection, is given up."""
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2: Final[Plain] = {
    "max_concurrent_streams": 1024,
    "initial_stream_window_size": 1024**2,
    "initial_connection_window_size": 8 * 1024**2,
    "allow_connect": True,  # WebSockets over HTTP/2, RFC 8441
}
_PROBLEM: Final[Plain] = {
    "type": "about:blank",
    "title": "The mesh answers instead of the service",
    "status": "%RESPONSE_CODE%",
    "detail": "%LOCAL_REPLY_BODY%",
    "reason": "%RESPONSE_CODE_DETAILS%",
}


def listener(name: str, host: str, port: int, *, manager: Plain, tls: Plain | None = None) -> Plain:
    """A listener with one chain of filters."""
    limit = extension(
        "envoy.filters.network.connection_limit",
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        stat_prefix=name,
        max_connections=CONNECTIONS,
    )
    chain: Plain = {"name": name, "filters": [limit, {"name": "http", "typed_config": manager}]}
    if tls is not None:
        chain |= {"transport_socket": tls, "transport_socket_connect_timeout": seconds(5.0)}
    return {
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [chain],
        "per_connection_buffer_limit_bytes": 1024**2,
    }


def manager(
    name: str, routes: list[Plain], *, filters: list[Plain], longest: float | None = None, **more: Any
) -> Plain:
    """How requests are read. What they ask of Envoy by headers of its own is taken away."""
    router = extension(
        "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True
    )
    common: Plain = {"idle_timeout": seconds(IDLE), "max_headers_count": HEADERS}
    if longest is not None:
        common["max_connection_duration"] = seconds(longest)
    found: Plain = {
        "stat_prefix": name,
        "codec_type": "AUTO",
        "route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, router],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "early_header_mutation_extensions": [_without_envoys_own()],
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": HEAD_KIB,
        "request_headers_timeout": seconds(10.0),
        "stream_idle_timeout": seconds(IDLE),
        "common_http_protocol_options": common,
        "http2_protocol_options": _HTTP2,
        "local_reply_config": {"body_format": {"json_format": _PROBLEM, "content_type": "application/problem+json"}},
    }
    return typed(_HCM, **(found | more))


def cluster(
    name: str,
    address: Plain,
    *,
    idle: float,
    http2: bool,
    longest: float | None = None,
    **more: Any,
) -> Plain:
    """One peer at `address`."""
    common: Plain = {"idle_timeout": seconds(idle), "max_headers_count": HEADERS}
    if longest is not None:
        common["max_connection_duration"] = seconds(longest)
    kind: Plain = {"http_protocol_options": {}}
    if http2:
        alive = {"interval": seconds(30.0), "timeout": seconds(5.0)}
        kind = {"http2_protocol_options": {**_HTTP2, "connection_keepalive": alive}}
    options = typed(_OPTIONS, common_http_protocol_options=common, explicit_http_config=kind)
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(CONNECT),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {_OPTIONS: options},
        # A peer that is ejected gets nothing, also when it is the only one: that is what an ejection is for.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        **more,
    }


def thresholds(**more: Any) -> Plain:
    """The bounds of a cluster."""
    return {
        "thresholds": [
            {
                "max_connections": CONNECTIONS,
                "max_pending_requests": REQUESTS,
                "max_requests": REQUESTS,
                **more,
            }
        ]
    }


def at_port(host: str, port: int) -> Plain:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def at_socket(path: Path) -> Plain:
    """A unix socket's address."""
    return {"pipe": {"path": str(path)}}


def _without_envoys_own() -> Plain:
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}}],
    )
