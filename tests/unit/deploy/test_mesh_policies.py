"""Who may call whom, as other meshes are told it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from skerry.cli.main import main
from skerry.deploy import MESHES
from skerry.deploy.policies import LABEL
from skerry.topology import load

SHOP = Path(__file__).parents[3] / "examples" / "shop" / "skerry.toml"


def exported(mesh: str, **options: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = MESHES[mesh](load(SHOP), namespace="shop", **options)
    return made


def of(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one.get("spec", {}) for one in manifests if one["kind"] == kind}


def test_istio_lets_in_whom_the_topology_names() -> None:
    """One policy for each service, by principals; one without callers has no rule, so that nobody matches."""
    made = exported("istio", trust_domain="example.org")
    policies = of(made, "AuthorizationPolicy")
    assert policies.keys() == load(SHOP).services.keys()
    [rule] = policies["payment"]["rules"]
    names = rule["from"][0]["source"]["principals"]
    assert names == ["example.org/ns/shop/sa/order", "example.org/ns/shop/sa/gateway"]
    assert policies["payment"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": "payment"}}
    nobody = {"selector": {"matchLabels": {"app.kubernetes.io/name": "notification"}}, "action": "ALLOW"}
    assert policies["notification"] == nobody
    assert of(made, "PeerAuthentication") == {"default": {"mtls": {"mode": "STRICT"}}}


def test_linkerd_lets_in_whom_the_topology_names() -> None:
    """A server for each port, which alone lets nobody in; callers by their service accounts; every reference leads somewhere."""
    made = exported("linkerd")
    servers, policies = of(made, "Server"), of(made, "AuthorizationPolicy")
    callers = of(made, "MeshTLSAuthentication")
    assert servers.keys() - policies.keys() == {"notification-http"}
    assert {"inventory-http", "inventory-grpc"} <= servers.keys()
    assert callers["callers-of-payment"]["identityRefs"] == [
        {"kind": "ServiceAccount", "name": "order"},
        {"kind": "ServiceAccount", "name": "gateway"},
    ]
    for policy in policies.values():
        assert policy["targetRef"]["name"] in servers
        assert {reference["name"] for reference in policy["requiredAuthenticationRefs"]} <= callers.keys()


@pytest.mark.parametrize("mesh", MESHES)
def test_the_verb_prints_them(mesh: str) -> None:
    """As YAML, or as JSON; all are in one namespace."""
    command = ["mesh", "export", mesh, "--file", str(SHOP), "--namespace", "live"]
    as_yaml = CliRunner().invoke(main, command)
    as_json = CliRunner().invoke(main, [*command, "-o", "json"])
    assert list(yaml.safe_load_all(as_yaml.stdout)) == json.loads(as_json.stdout)
    made = json.loads(as_json.stdout)
    assert {one["metadata"]["namespace"] for one in made} == {"live"}


def test_they_go_with_the_manifests_of_the_system(tmp_path: Path) -> None:
    """Labels, service accounts and ports that are referred to are those that `skerry export kubernetes` writes."""
    command = ["export", "kubernetes", "--file", str(SHOP), "--out", str(tmp_path)]
    assert CliRunner().invoke(main, command).exit_code == 0
    written = [one for file in tmp_path.rglob("*.yaml") for one in yaml.safe_load_all(file.read_text())]
    pods = {
        (one["spec"]["template"]["metadata"]["labels"][LABEL], one["spec"]["template"]["spec"]["serviceAccountName"])
        for one in written
        if one and one.get("kind") == "Deployment"
    }
    names = {account for _, account in pods}
    assert {(name, name) for name in (*load(SHOP).services, "gateway")} <= pods
    for spec in of(exported("linkerd"), "MeshTLSAuthentication").values():
        assert {account["name"] for account in spec["identityRefs"]} <= names
    ports = {
        (one["metadata"]["name"], port["name"])
        for one in written
        if one and one.get("kind") == "Service"
        for port in one["spec"]["ports"]
    }
    for spec in of(exported("linkerd"), "Server").values():
        assert (spec["podSelector"]["matchLabels"][LABEL], spec["port"]) in ports
