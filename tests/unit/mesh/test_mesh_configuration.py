"""What sidecars are told, as plain values; what Envoy makes of it, the integration tests show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from skerry.envoy.mesh import Authority, Callee, CertificateFolder, Sidecar, write_folder

STOCK = Sidecar(
    system="shop",
    service="stock",
    port=15001,
    socket=Path("/run/stock.http"),
    grpc=Path("/run/stock.grpc"),
    callers=("order",),
    calls=(Callee(service="price", listen=15002, port=15003),),
)


def parts(value: Any, key: str) -> Iterator[Any]:
    """Everything that stands under `key`, however deep."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from parts(inner, key)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from parts(inner, key)


def test_both_ends_speak_tls_1_3_and_nothing_else() -> None:
    """The least and the most are told: with the least alone, no handshake would succeed."""
    resources = STOCK.resources()
    versions = [*parts(resources.listeners, "tls_params"), *parts(resources.clusters, "tls_params")]
    assert versions == [{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}] * 2


def test_only_callers_of_the_topology_are_let_in() -> None:
    """By their exact names; where there is none, nobody is."""
    [rules] = parts(STOCK.resources().listeners, "rules")
    [names] = parts(rules, "principals")
    assert names == [{"authenticated": {"principal_name": {"exact": "spiffe://shop/order"}}}]
    alone = Sidecar(system="shop", service="stock", port=15001, socket=Path("/run/stock.http"))
    assert list(parts(alone.resources().listeners, "rules")) == [{"action": "ALLOW", "policies": {}}]


def test_a_callee_has_to_be_exactly_who_is_called() -> None:
    """A caller is any of the system, for the rules decide; a callee is one."""
    resources = STOCK.resources()
    [callee] = parts(resources.clusters, "match_typed_subject_alt_names")
    assert callee == [{"san_type": "URI", "matcher": {"exact": "spiffe://shop/price"}}]
    [caller] = parts(resources.listeners, "match_typed_subject_alt_names")
    assert caller == [{"san_type": "URI", "matcher": {"prefix": "spiffe://shop/"}}]


def test_no_port_but_those_of_the_loopback() -> None:
    """In this form all sidecars are on one machine; the service itself is reached over unix sockets."""
    resources = STOCK.resources()
    addresses = [*parts(resources.listeners, "socket_address"), *parts(resources.clusters, "socket_address")]
    assert {address["address"] for address in addresses} == {"127.0.0.1"}
    assert sorted(pipe["path"] for pipe in parts(resources.clusters, "pipe")) == ["/run/stock.grpc", "/run/stock.http"]


def test_who_nobody_can_call_listens_for_nobody() -> None:
    """The gateway's sidecar has ports for its callees only."""
    gateway = Sidecar(system="shop", service="gateway", calls=(Callee(service="stock", listen=1, port=2),))
    assert set(gateway.resources().listeners) == {"to-stock"}
    assert set(gateway.resources().clusters) == {"to-stock"}


def test_no_name_of_a_service_is_in_the_way(tmp_path: Path) -> None:
    """Whatever callees are called, each has a cluster and a listener beside those of the service itself."""
    names = ("app", "app-grpc", "inbound", "local", "skerry-ads", "ca", "to-app")
    calls = tuple(Callee(service=name, listen=port, port=port + 100) for port, name in enumerate(names, 1))
    told = replace(STOCK, calls=calls).resources()
    assert len(told.clusters) == len(names) + 2
    assert len(told.listeners) == len(names) + 1
    assert "skerry-ads" not in told.clusters  # which Envoy is started with
    authority = Authority(tmp_path / "ca", system="shop")
    write_folder(tmp_path / "out", authority, names)
    found = CertificateFolder(tmp_path / "out", system="shop")
    assert [found.identity(name).name for name in names] == [f"spiffe://shop/{name}" for name in names]


def test_everything_is_bounded() -> None:
    """Each cluster has bounds for connections and requests; each listener for connections."""
    resources = STOCK.resources()
    for cluster in resources.clusters.values():
        [bounds] = cluster["circuit_breakers"]["thresholds"]
        assert {"max_connections", "max_pending_requests", "max_requests"} <= bounds.keys()
        assert cluster["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}}
    for listener in resources.listeners.values():
        assert list(parts(listener, "max_connections"))
        assert list(parts(listener, "stream_idle_timeout")) == ["300s"]
