"""Manifests hold what the topology says, are what Kubernetes' schemas take, and carry no password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from small_system import TOML, small_system

from skerry.deploy import export

VERSION = "1.30"
PUBLISHED = Path(__file__).with_name("published")
CUSTOM = {"Gateway": "gateways.json", "HTTPRoute": "httproutes.json"}
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    plan = export.plan_of(small_system(tmp_path_factory.mktemp("system")))
    return export.kubernetes.files(plan, tag="1.2.3", registry="registry.test/team", gateway_class="class")


@pytest.fixture(scope="module")
def manifests(files: dict[str, str]) -> list[Manifest]:
    return [one for name in files if name.startswith("kubernetes/") for one in yaml.safe_load_all(files[name])]


def _of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def _pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for one in manifests:
        if one["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def test_every_manifest_is_what_its_schema_takes(manifests: list[Manifest]) -> None:
    """Kubernetes' own types by its published schemas, strictly; the Gateway API's by those of its definitions."""
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            jsonschema.validate(manifest, json.loads((PUBLISHED / CUSTOM[manifest["kind"]]).read_text()))
        else:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_schemas_would_find_a_wrong_word(manifests: list[Manifest]) -> None:
    """An unknown key is refused: a check that takes everything would prove nothing."""
    route = json.loads(json.dumps(_of_kind(manifests, "HTTPRoute")["corner-shop"]))
    route["spec"]["rules"][0]["backendRefs"][0]["prot"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(route, json.loads((PUBLISHED / "httproutes.json").read_text()))
    deployment = json.loads(json.dumps(_of_kind(manifests, "Deployment")["order"]))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def test_all_files_are_listed_for_kustomize(files: dict[str, str]) -> None:
    """What is not a resource of the kustomization would silently not be applied."""
    kustomization = yaml.safe_load(files["kustomization.yaml"])
    assert set(kustomization["resources"]) == {name for name in files if name.startswith("kubernetes/")}
    assert {secret["name"] for secret in kustomization["secretGenerator"]} == {
        *("order", "order-database", "stock-room", "stock-room-database", "mailer", "events")
    }


def test_a_service_has_all_that_it_needs(manifests: list[Manifest]) -> None:
    """A Deployment, a Service, a disruption budget and an autoscaler each; a migration and a store where something is kept."""
    processes = {"order", "stock-room", "mailer", "gateway"}
    for kind in ("Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert _of_kind(manifests, kind).keys() == processes
    assert _of_kind(manifests, "StatefulSet").keys() == {"order-database", "stock-room-database", "events"}
    release = export.kubernetes.release_of("1.2.3")
    assert _of_kind(manifests, "Job").keys() == {f"order-migrate-{release}", f"stock-room-migrate-{release}"}
    assert _of_kind(manifests, "Service").keys() == processes | {"order-database", "stock-room-database", "events"}


def test_probes_ask_what_health_is_for(manifests: list[Manifest]) -> None:
    """Start-up, readiness and liveness each by their own path."""
    for deployment in _of_kind(manifests, "Deployment").values():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        asked = {what: container[f"{what}Probe"]["httpGet"]["path"] for what in ("startup", "readiness", "liveness")}
        assert asked == {"startup": "/health/startup", "readiness": "/health/ready", "liveness": "/health/live"}


def test_pods_may_do_as_little_as_can_be(manifests: list[Manifest]) -> None:
    """The restricted standard for pods, on a file system that cannot be written, within bounds of memory."""
    pods = dict(_pods(manifests))
    assert len(pods) == 9
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            own = container["securityContext"]
            assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert ":latest" not in container["image"]


def test_addresses_are_those_of_callees_only(manifests: list[Manifest]) -> None:
    """A process learns where those are that it calls, gRPC too, and nobody else."""
    told = {
        name: {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
        for name, pod in _pods(manifests)
    }
    addresses = {
        name: {key: value for key, value in variables.items() if key.startswith("SKERRY_URL_")}
        for name, variables in told.items()
    }
    assert addresses["order"] == {
        "SKERRY_URL_STOCK_ROOM": "http://stock-room:8080",
        "SKERRY_URL_STOCK_ROOM_GRPC": "http://stock-room:50051",
    }
    assert addresses["gateway"] == {"SKERRY_URL_ORDER": "http://order:8080"}
    assert not addresses["stock-room"]
    assert not addresses["mailer"]
    assert told["order"]["GREETING"] == "{{ hello }}"


def test_the_network_has_the_calls_and_nothing_else(manifests: list[Manifest]) -> None:
    """Of all pairs of pods, those may speak that the topology says, each at the port of the one that answers."""
    policies = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    names = [
        *("order", "stock-room", "mailer", "gateway", "events"),
        *("order-database", "stock-room-database", "order-migrate", "stock-room-migrate"),
    ]
    allowed = {
        (caller, callee, port)
        for caller, callee in permutations(names, 2)
        for port in (8080, 50051, 5432, 4222)
        if _reaches(policies, caller, callee, port)
    }
    assert allowed == {
        ("gateway", "order", 8080),
        ("order", "stock-room", 8080),
        ("order", "stock-room", 50051),
        ("order", "order-database", 5432),
        ("order-migrate", "order-database", 5432),
        ("stock-room", "stock-room-database", 5432),
        ("stock-room-migrate", "stock-room-database", 5432),
        ("order", "events", 4222),
        ("mailer", "events", 4222),
    }


def _reaches(policies: list[Manifest], caller: str, callee: str, port: int) -> bool:
    """As Kubernetes has it: policies that select a pod are added up, and both ends have to allow."""
    return _let(policies, caller, callee, port, "egress", "to") and _let(
        policies, callee, caller, port, "ingress", "from"
    )


def _let(policies: list[Manifest], pod: str, other: str, port: int, way: str, end: str) -> bool:
    for policy in policies:
        if not _selects(policy["podSelector"], pod):
            continue
        for rule in policy[way]:
            peers = rule.get(end)
            fits = peers is None or any(_selects(peer["podSelector"], other) for peer in peers if "podSelector" in peer)
            if fits and any(each["port"] == port for each in rule["ports"]):
                return True
    return False


def _selects(selector: Manifest, pod: str) -> bool:
    labels = selector.get("matchLabels", {})
    return all(labels[key] == pod for key in labels)


def test_the_way_in_leads_to_our_gateway(manifests: list[Manifest]) -> None:
    """The cluster's gateway sends everything on: the routes are ours."""
    route = _of_kind(manifests, "HTTPRoute")["corner-shop"]
    assert route["spec"]["rules"] == [{"backendRefs": [{"name": "gateway", "port": 8080}]}]
    assert _of_kind(manifests, "Gateway")["corner-shop"]["spec"]["gatewayClassName"] == "class"


def test_each_release_has_a_migration_that_may_be_called_so(tmp_path: Path) -> None:
    """Two tags that begin alike have two Jobs, and the longest name of a service fits into what Kubernetes allows: 63."""
    plan = export.plan_of(small_system(tmp_path, TOML.replace("stock-room", "s" * 40)))
    names = set()
    for tag in ("2026.11.30-main-0123456", "2026.11.30-main-0123457"):
        made = export.kubernetes.files(plan, tag=tag)
        names.add(yaml.safe_load(made[f"kubernetes/{'s' * 40}-migrate.yaml"])["metadata"]["name"])
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_variables_are_what_the_system_file_has(tmp_path: Path) -> None:
    """Kubernetes would fill in `$(NAME)`, and takes two dollar signs for one."""
    system = small_system(
        tmp_path, TOML.replace("{{ hello }}", "$(HOME) $$").replace("env = {", 'env = { SKERRY_DRAIN = "60",')
    )
    made = export.kubernetes.files(export.plan_of(system), tag="1")
    deployment = next(one for one in yaml.safe_load_all(made["kubernetes/order.yaml"]) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "GREETING", "value": "$$(HOME) $$$$"} in pod["containers"][0]["env"]
    assert pod["terminationGracePeriodSeconds"] == 80


def test_without_a_class_there_is_no_gateway_object(tmp_path: Path) -> None:
    """A cluster without the Gateway API takes the rest."""
    made = export.kubernetes.files(export.plan_of(small_system(tmp_path)), tag="1")
    assert "gateway.networking.k8s.io" not in "".join(made.values())
