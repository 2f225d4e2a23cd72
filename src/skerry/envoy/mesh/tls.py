"""The two ends of a connection between sidecars: TLS 1.3, a certificate on each side, its secrets by SDS over the ADS stream."""

from __future__ import annotations

from typing import Final

from skerry.envoy.bootstrap import ADS_SOURCE
from skerry.envoy.mesh.identity import spiffe_name
from skerry.envoy.plain import Plain, extension

IDENTITY: Final = "identity"
AUTHORITIES: Final = "authorities"
_TYPES: Final = "envoy.extensions.transport_sockets.tls.v3"


def downstream(system: str) -> Plain:
    """Who comes in has to show a certificate of this system; who of it may call is decided for each request, see `inbound`."""
    return extension(
        "envoy.transport_sockets.tls",
        f"{_TYPES}.DownstreamTlsContext",
        common_tls_context=_common({"prefix": spiffe_name(system, "")}, alpn=["h2", "http/1.1"]),
        require_client_certificate=True,
        # A session that is taken up again would be believed without another look at its certificate.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )


def upstream(system: str, callee: str) -> Plain:
    """Who is called has to be exactly `callee`."""
    return extension(
        "envoy.transport_sockets.tls",
        f"{_TYPES}.UpstreamTlsContext",
        common_tls_context=_common({"exact": spiffe_name(system, callee)}, alpn=["h2"]),
        max_session_keys=0,
    )


def _common(name: Plain, *, alpn: list[str]) -> Plain:
    return {
        # Both ends: with the lower one alone, the client's own default maximum is below it and no handshake succeeds.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": [{"name": IDENTITY, "sds_config": ADS_SOURCE}],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": name}]},
            "validation_context_sds_secret_config": {"name": AUTHORITIES, "sds_config": ADS_SOURCE},
        },
    }
