"""Manifests for Kubernetes, put together by kustomize (`kubectl apply -k`).

Each service: its Deployment with probes and bounds, a Service, a PodDisruptionBudget, an autoscaler, a Job that migrates its
database before, and that database, alone in a StatefulSet with a Secret of its own. Network policies allow the calls of the
topology and nothing else. A service keeps nothing in its pod. Source: the API reference of Kubernetes 1.30 and Gateway API 1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from skerry.deploy.export import compose, images, network
from skerry.deploy.export.plan import DATABASE_PORT, EVENTS, EVENTS_PORT, GRACE, GRPC_PORT, PORT, Plan, Workload
from skerry.deploy.export.writing import SECRETS, document, names_of_secrets, role_of
from skerry.topology import GATEWAY

REPLICAS: Final = (2, 6)
"""At least and at most, of each service."""
BUSY: Final = 70
"""Percent of the processor time asked for at which one more is started."""
_KEPT: Final = "10Gi"
_POSTGRES_USER: Final = 70
"""Of the alpine image."""
_NATS_USER: Final = 1000

Manifest = dict[str, Any]


def files(plan: Plan, *, tag: str, registry: str = "", gateway_class: str = "") -> dict[str, str]:
    """By path: `kustomization.yaml`, a file for each process, `network.yaml`, and the Dockerfiles.

    Images are `REGISTRY/SYSTEM-NAME:TAG`. With a `gateway_class` the way in is a Gateway of that class, else there is a
    Service only.
    """
    found: dict[str, str] = {"kubernetes/namespace.yaml": document(_namespace(plan))}
    for workload in plan.services:
        if workload.database:
            found[f"kubernetes/{workload.database_name}.yaml"] = document(*_database(workload))
            found[f"kubernetes/{workload.name}-migrate.yaml"] = document(_migration(plan, workload, registry, tag))
    if plan.events:
        found[f"kubernetes/{EVENTS}.yaml"] = document(*_broker())
    for workload in plan.workloads:
        objects = _process(plan, workload, registry, tag)
        if workload.name == GATEWAY and gateway_class:
            objects += _way_in(plan, gateway_class)
        found[f"kubernetes/{workload.name}.yaml"] = document(*objects)
    found["kubernetes/network.yaml"] = document(*network.policies(plan))
    found["kustomization.yaml"] = document(_kustomization(plan, sorted(found)))
    if plan.events:
        found[compose.BROKER_FILE] = compose.broker_settings()
    return {**found, **images.files(plan)}


def _kustomization(plan: Plan, resources: list[str]) -> Manifest:
    secrets = [{"name": name, "envs": [f"{SECRETS}/{name}.env"], "type": "Opaque"} for name in names_of_secrets(plan)]
    configuration = [{"name": f"{EVENTS}-settings", "files": [compose.BROKER_FILE]}] if plan.events else []
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": plan.system.name,
        "labels": [{"pairs": {"app.kubernetes.io/part-of": plan.system.name}, "includeTemplates": True}],
        "resources": resources,
        **({"secretGenerator": secrets} if secrets else {}),
        **({"configMapGenerator": configuration} if configuration else {}),
    }


def _namespace(plan: Plan) -> Manifest:
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": plan.system.name, "labels": restricted}}


def _process(plan: Plan, workload: Workload, registry: str, tag: str) -> list[Manifest]:
    ports = [{"name": "http", "port": PORT, "targetPort": "http"}]
    if workload.grpc:
        ports.append({"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc"})
    least, most = REPLICAS
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name}
    busy = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY}},
    }
    return [
        {**_head("v1", "ServiceAccount", workload.name), "automountServiceAccountToken": False},
        _deployment(plan, workload, registry, tag),
        {**_head("v1", "Service", workload.name), "spec": {"selector": _labels(workload.name), "ports": ports}},
        {
            **_head("policy/v1", "PodDisruptionBudget", workload.name),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(workload.name)}},
        },
        {
            **_head("autoscaling/v2", "HorizontalPodAutoscaler", workload.name),
            "spec": {"scaleTargetRef": scaled, "minReplicas": least, "maxReplicas": most, "metrics": [busy]},
        },
    ]


def _deployment(plan: Plan, workload: Workload, registry: str, tag: str) -> Manifest:
    """Without `replicas`: that is the autoscaler's, and an apply would undo what it did."""
    ports = [{"name": "http", "containerPort": PORT}]
    if workload.grpc:
        ports.append({"name": "grpc", "containerPort": GRPC_PORT})
    container = {
        **_container(plan, workload, registry, tag),
        "ports": ports,
        "startupProbe": _probe("startup", period=2, failures=60),
        "readinessProbe": _probe("ready", period=5, failures=2),
        "livenessProbe": _probe("live", period=10, failures=6),
    }
    apart = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(workload.name)},
    }
    return {
        **_head("apps/v1", "Deployment", workload.name),
        "spec": {
            "selector": {"matchLabels": _labels(workload.name)},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": _labels(workload.name)},
                "spec": {**_pod(workload, container), "topologySpreadConstraints": [apart]},
            },
        },
    }


def _migration(plan: Plan, workload: Workload, registry: str, tag: str) -> Manifest:
    """Its name has the tag: a Job cannot be changed, and each release has one. Pods wait for it by refusing to start."""
    name = f"{workload.name}-migrate"
    container = {
        **_container(plan, workload, registry, tag),
        "command": ["skerry", "db", "migrate", workload.app],
    }
    return {
        **_head("batch/v1", "Job", f"{name}-{release_of(tag)}", labels=_labels(name)),
        "spec": {
            "backoffLimit": 20,
            "activeDeadlineSeconds": 3600,
            "ttlSecondsAfterFinished": 24 * 3600,
            "template": {
                "metadata": {"labels": _labels(name)},
                "spec": {**_pod(workload, container), "restartPolicy": "OnFailure"},
            },
        },
    }


def _container(plan: Plan, workload: Workload, registry: str, tag: str) -> Manifest:
    variables: list[Manifest] = [
        {"name": name, "value": value} for name, value in images.surroundings(workload).items()
    ]
    wanted = {"SKERRY_DATABASE": workload.database, "SKERRY_EVENTS": workload.events}
    variables += [_from_secret(name, workload.name) for name, needed in wanted.items() if needed]
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return {
        "name": workload.name,
        "image": f"{prefix}{plan.system.name}-{workload.name}:{tag}",
        "env": variables,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": _confined(),
        "volumeMounts": [{"name": "data", "mountPath": images.DATA}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _pod(workload: Workload, container: Manifest) -> Manifest:
    return {
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": workload.grace,
        "securityContext": _as_user(images.USER),
        "containers": [container],
        "volumes": [
            {"name": "data", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _database(workload: Workload) -> list[Manifest]:
    name, role = workload.database_name, role_of(workload.name)
    check = {"exec": {"command": ["pg_isready", "-U", role, "-d", role]}, "periodSeconds": 5, "timeoutSeconds": 3}
    container = {
        "name": "postgresql",
        "image": images.POSTGRESQL,
        "ports": [{"name": "postgresql", "containerPort": DATABASE_PORT}],
        "env": [
            {"name": "POSTGRES_USER", "value": role},
            {"name": "POSTGRES_DB", "value": role},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
            _from_secret("POSTGRES_PASSWORD", name),
        ],
        "startupProbe": {**check, "failureThreshold": 60},
        "readinessProbe": check,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": _confined(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/postgresql/data"},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    return _kept(name, container, port=DATABASE_PORT, user=_POSTGRES_USER, more=["run", "tmp"])


def _broker() -> list[Manifest]:
    check = {"httpGet": {"path": "/healthz?js-server-only=true", "port": 8222}, "periodSeconds": 5, "timeoutSeconds": 3}
    container = {
        "name": "nats",
        "image": images.NATS,
        "args": ["-c", f"/etc/nats/{compose.BROKER_FILE}"],
        "ports": [{"name": "nats", "containerPort": EVENTS_PORT}],
        "env": [_from_secret("NATS_PASSWORD", EVENTS)],
        "startupProbe": {**check, "failureThreshold": 60},
        "readinessProbe": check,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": _confined(),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "settings", "mountPath": "/etc/nats"}],
    }
    settings = {"name": "settings", "configMap": {"name": f"{EVENTS}-settings"}}
    return _kept(EVENTS, container, port=EVENTS_PORT, user=_NATS_USER, volumes=[settings])


def _kept(
    name: str,
    container: Manifest,
    *,
    port: int,
    user: int,
    more: list[str] | None = None,
    volumes: list[Manifest] | None = None,
) -> list[Manifest]:
    """One pod with a disk of its own, and the name it is found by."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _KEPT}}},
    }
    empty = [{"name": each, "emptyDir": {"sizeLimit": "64Mi"}} for each in more or []]
    return [
        {**_head("v1", "ServiceAccount", name), "automountServiceAccountToken": False},
        {
            **_head("v1", "Service", name),
            "spec": {
                "clusterIP": "None",
                "selector": _labels(name),
                "ports": [{"name": container["name"], "port": port}],
            },
        },
        {
            **_head("apps/v1", "StatefulSet", name),
            "spec": {
                "serviceName": name,
                "replicas": 1,
                "selector": {"matchLabels": _labels(name)},
                "template": {
                    "metadata": {"labels": _labels(name)},
                    "spec": {
                        "serviceAccountName": name,
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": GRACE,
                        "securityContext": _as_user(user),
                        "containers": [container],
                        "volumes": [*empty, *(volumes or [])],
                    },
                },
                "volumeClaimTemplates": [claim],
            },
        },
    ]


def _way_in(plan: Plan, gateway_class: str) -> list[Manifest]:
    """The cluster's own gateway sends everything to ours, which knows the routes."""
    api = "gateway.networking.k8s.io/v1"
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    name = plan.system.name
    return [
        {**_head(api, "Gateway", name), "spec": {"gatewayClassName": gateway_class, "listeners": [listener]}},
        {
            **_head(api, "HTTPRoute", name),
            "spec": {"parentRefs": [{"name": name}], "rules": [{"backendRefs": [{"name": GATEWAY, "port": PORT}]}]},
        },
    ]


def _head(api: str, kind: str, name: str, *, labels: Mapping[str, str] | None = None) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": dict(labels or _labels(name))}}


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _from_secret(variable: str, secret: str) -> Manifest:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": variable}}}


def _probe(what: str, *, period: int, failures: int) -> Manifest:
    asks = {"path": f"/health/{what}", "port": "http"}
    return {"httpGet": asks, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures}


def _confined() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _as_user(user: int) -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def release_of(tag: str) -> str:
    """A tag as the end of a name: no two alike have the same, and with the longest name of a service it is short enough."""
    return hashlib.sha256(tag.encode()).hexdigest()[:10]
