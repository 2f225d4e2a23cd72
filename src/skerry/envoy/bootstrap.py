"""What Envoy is started with: who it is, where it is asked about itself, and where its configuration comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skerry.envoy.resources import KINDS

ADS_CLUSTER = "skerry-ads"
CLUSTERS_FILE, LISTENERS_FILE, ROUTES_FOLDER = "clusters.json", "listeners.json", "routes"
_CONNECT = "1s"

ADS_SOURCE: Mapping[str, Any] = {"ads": {}, "resource_api_version": "V3"}


def with_histograms(written: Mapping[str, Any], bounds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The same with other buckets for the histograms whose names begin so. They are then brought up to date when Envoy is asked
    for statistics, instead of every five seconds.
    """
    settings = [{"match": {"prefix": prefix}, "buckets": list(buckets)} for prefix, buckets in bounds.items()]
    return {**written, "stats_flush_on_admin": True, "stats_config": {"histogram_bucket_settings": settings}}


def by_ads(*, node: str, admin: Path, ads: Path) -> dict[str, Any]:
    """Configuration by the server at the unix socket `ads`; questions at the unix socket `admin`."""
    return {
        **_common(node, admin),
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": ADS_CLUSTER}}],
                "set_node_on_first_message_only": True,
            },
            "cds_config": ADS_SOURCE,
            "lds_config": ADS_SOURCE,
        },
        "static_resources": {"clusters": [_ads_cluster(ads)]},
    }


def by_files(*, node: str, admin: Path, folder: Path) -> dict[str, Any]:
    """Configuration by the files that `FileDelivery` writes into `folder`."""
    return {
        **_common(node, admin),
        "dynamic_resources": {
            "cds_config": file_source(folder / CLUSTERS_FILE),
            "lds_config": file_source(folder / LISTENERS_FILE),
        },
    }


def file_source(path: Path) -> dict[str, Any]:
    """One file that is replaced by a rename."""
    return {
        "path_config_source": {"path": str(path), "watched_directory": {"path": str(path.parent)}},
        "resource_api_version": "V3",
    }


def envelope(kind_type: str, resources: list[Mapping[str, Any]], *, version: str) -> dict[str, Any]:
    """A file's content: an answer as a server of configuration would give it."""
    assert kind_type in KINDS.values(), "one of ours"
    return {"version_info": version, "resources": [{"@type": kind_type, **resource} for resource in resources]}


def _common(node: str, admin: Path) -> dict[str, Any]:
    return {
        "node": {"id": node, "cluster": node},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        # Connections beyond the file limit would make it refuse its own: `downstream` is bounded, `upstream` by each cluster.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 50_000,
                    },
                }
            ]
        },
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 10_000}}]
        },
    }


def _ads_cluster(socket: Path) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    http2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": ADS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": _CONNECT,
        "load_assignment": {"cluster_name": ADS_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": http2,
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
            }
        },
    }
