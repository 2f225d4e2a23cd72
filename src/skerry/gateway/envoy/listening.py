"""Where clients come in, as listeners of Envoy: what is refused before any route is looked for, and what is written about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from skerry.gateway.envoy import counting
from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.values import Plain, extension, kibibytes, regex, seconds, share, typed
from skerry.gateway.model import AccessLog, GatewaySpec, Listener, Tls
from skerry.gateway.wire.crossing import OURS, TRUSTED_INSIDE, TRUSTED_INSIDE_PREFIXES, Crossing, crossing

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_V3 = "envoy.extensions.filters.http"
_ADS = {"ads": {}, "resource_api_version": "V3"}
_LOG_FORMAT = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(X-FORWARDED-HOST?:AUTHORITY)%",
    "path": "%PATH(NQ:PATH)%",
    "route": "%ROUTE_NAME%",
    "service": "%METADATA(CLUSTER:skerry:service)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "status": "%RESPONSE_CODE%",
    "bytes": "%BYTES_SENT%",
    "ms": "%DURATION%",
    "why": "%RESPONSE_CODE_DETAILS%",
}
"""The names that the embedded engine's log has, too."""
_HOP_BY_HOP = frozenset({b"proxy-authorization", b"proxy-authenticate", b"http2-settings", b"keep-alive", b"trailer"})
"""Those that Envoy does not take away by itself."""
_LAST_WORDS = 0.1
"""Seconds for an answer to be read before a connection that is not to be trusted any more is closed."""
_BEYOND_FOR_AND_PROTO = "x-forwarded-([^fp].*|f[^o].*|fo[^r].*|for.+|p[^r].*|pr[^o].*|pro[^t].*|prot[^o].*|proto.+)"
"""RE2 cannot say "all but"."""


def address(listeners: Sequence[Listener]) -> str:
    """The name of Envoy's listener for those of ours that share an address and port."""
    return f"{listeners[0].address}:{listeners[0].port}"


def groups(spec: GatewaySpec) -> list[list[Listener]]:
    """Listeners by address and port: Envoy has one for each of them."""
    found: dict[tuple[str, int, str], list[Listener]] = {}
    for listener in spec.listeners:
        alone = listener.name if listener.port == 0 else ""
        found.setdefault((listener.address, listener.port, alone), []).append(listener)
    return list(found.values())


def chains(group: Sequence[Listener]) -> list[list[Listener]]:
    """Of those on one port: who share a certificate, or have none."""
    found: dict[Tls | None, list[Listener]] = {}
    for listener in group:
        found.setdefault(listener.tls, []).append(listener)
    return list(found.values())


def listener(group: Sequence[Listener], chained: Sequence[Plain], *, files: Sequence[str]) -> Plain:
    """Envoy's listener for a group. `files` are what its certificates are read from: when they change, so does it."""
    first = group[0]
    found: Plain = {
        "name": first.name if first.port == 0 else address(group),
        "address": {"socket_address": {"address": first.address, "port_value": first.port}},
        "filter_chains": list(chained),
        "per_connection_buffer_limit_bytes": 1024**2,
        "metadata": {"filter_metadata": {"skerry": {"files": _digest(files)}}},
    }
    if any(one.tls is not None for one in group):
        inspector = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        found["listener_filters"] = [extension("envoy.filters.listener.tls_inspector", inspector)]
    return found


def chain(spec: GatewaySpec, mine: Sequence[Listener], manager: Plain, *, alone: bool) -> Plain:
    """The filters of a connection. `alone`: there is no other chain on this port."""
    limit = extension(
        "envoy.filters.network.connection_limit",
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        stat_prefix=mine[0].name,
        max_connections=spec.limits.connections,
    )
    found: Plain = {"name": mine[0].name, "filters": [limit, {"name": "http", "typed_config": manager}]}
    tls = mine[0].tls
    names = sorted({name for one in mine for name in one.hostnames}) if all(one.hostnames for one in mine) else []
    if tls is not None:
        found["transport_socket"] = _tls(tls)
        if not alone:
            found["filter_chain_match"] = {"transport_protocol": "tls", **({"server_names": names} if names else {})}
    elif not alone:
        found["filter_chain_match"] = {"transport_protocol": "raw_buffer"}
    return found


def manager(
    spec: GatewaySpec, mine: Sequence[Listener], *, routes: str, filters: Sequence[Plain], notes: Notes
) -> Plain:
    """How HTTP is read, and what is done with every request."""
    limits = spec.limits
    notes.differs(None, "limits.target", "is bounded by limits.head only")
    notes.differs(
        None, "limits.body_rate", "is not looked at: a slow body is bounded by limits.body_timeout between its bytes"
    )
    router = extension("envoy.filters.http.router", f"{_V3}.router.v3.Router", suppress_envoy_headers=True)
    found: Plain = {
        "stat_prefix": mine[0].name,
        "codec_type": "HTTP1",
        "rds": {"route_config_name": routes, "config_source": _ADS},
        "http_filters": [*filters, *_endless(), router],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "early_header_mutation_extensions": [_stripped(spec)],
        "use_remote_address": True,
        "xff_num_trusted_hops": spec.trusted_hops,
        "internal_address_config": {"cidr_ranges": []},
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": max(1, kibibytes(limits.head)),
        "request_headers_timeout": seconds(limits.head_timeout),
        "delayed_close_timeout": seconds(_LAST_WORDS),
        "stream_idle_timeout": seconds(limits.body_timeout),
        "common_http_protocol_options": {
            "idle_timeout": seconds(limits.idle_timeout),
            "max_headers_count": limits.headers,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http_protocol_options": {"accept_http_10": True},
    }
    logs = [] if spec.access_log is None else [_log(spec.access_log)]
    if spec.version is not None:
        logs.append(counting.access_log())
    if logs:
        found["access_log"] = logs
    return typed(_HCM, **found)


def _stripped(spec: GatewaySpec) -> Plain:
    """Takes away, before anything else is done, what a client may not say."""
    ours = {name.decode() for name in OURS | TRUSTED_INSIDE | _HOP_BY_HOP if crossing(name) is Crossing.DROPPED}
    claimed = {header.lower() for provider in spec.providers for _, header in provider.claims}
    mutations: list[Plain] = [{"remove": name} for name in sorted(ours | claimed)]
    for prefix in sorted(prefix.decode() for prefix in TRUSTED_INSIDE_PREFIXES):
        matcher: Plain = {"prefix": prefix, "ignore_case": True}
        if prefix == "x-forwarded-" and spec.trusted_hops:
            matcher = {"safe_regex": regex(_BEYOND_FOR_AND_PROTO)}
        mutations.append({"remove_on_match": {"key_matcher": matcher}})
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=mutations,
    )


def _endless() -> list[Plain]:
    """Streams of events have no end, so the bound of all attempts, which goes on while an answer is sent, is not for them."""
    accept = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="accept")
    stream = {
        "input": {"name": "accept", "typed_config": accept},
        "value_match": {"contains": "text/event-stream", "ignore_case": True},
    }
    skip = {"name": "skip", "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")}
    unbounded = {"header": {"key": "x-envoy-upstream-rq-timeout-ms", "value": "0"}}
    mutation = typed(
        f"{_V3}.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"append": {**unbounded, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]},
    )
    matcher = {"predicate": {"not_matcher": {"single_predicate": stream}}, "on_match": {"action": skip}}
    return [
        extension(
            "skerry.endless",
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            extension_config={"name": "header_mutation", "typed_config": mutation},
            xds_matcher={"matcher_list": {"matchers": [matcher]}},
        )
    ]


def _log(wanted: AccessLog) -> Plain:
    shape = {"log_format": {"json_format": _LOG_FORMAT}}
    found = (
        extension("log", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", **shape)
        if wanted.file == "-"
        else extension("log", "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=wanted.file, **shape)
    )
    if wanted.sample < 1.0:
        status = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "skerry.log_from"}}}
        sampled = {
            "runtime_key": "skerry.log_share",
            "percent_sampled": share(wanted.sample * 100),
            "use_independent_randomness": True,
        }
        filters = [{"status_code_filter": status}, {"runtime_filter": sampled}]
        found["filter"] = {"or_filter": {"filters": filters}}
    return found


def _tls(tls: Tls) -> Plain:
    pair = {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
    context: Plain = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
        "alpn_protocols": ["http/1.1"],
    }
    if tls.client_ca is not None:
        context["validation_context"] = {"trusted_ca": {"filename": tls.client_ca}}
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=context,
        require_client_certificate=tls.client_ca is not None,
    )


def _digest(files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        digest.update(Path(name).read_bytes() if Path(name).is_file() else b"")
    return digest.hexdigest()[:16] if files else ""
