from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory

from skerry.architecture.manifests import read

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
        - name: orders
          image: registry/orders:1
          env:
            - {name: PLAIN, value: "1"}
            - {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: db, key: url}}}
          envFrom:
            - configMapRef: {name: addresses}
---
apiVersion: v1
kind: Service
metadata: {name: orders-svc}
spec: {selector: {app: orders}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: addresses}
data: {STOCK_URL: "http://stock"}
"""


def test_variables_come_from_values_config_maps_and_secrets() -> None:
    """A secret's value is never kept, only its name and key."""
    (orders,) = read(Memory({"k8s/orders.yaml": DEPLOYMENT})).deployed
    env = orders.workload.env
    assert (env["PLAIN"].value, env["STOCK_URL"].value, env["DATABASE_URL"].value) == ("1", "http://stock", None)
    assert env["DATABASE_URL"].secret == "db/url"


def test_a_service_is_a_host_of_what_it_selects() -> None:
    """Others reach a workload by the name of the Service in front of it."""
    (orders,) = read(Memory({"k8s/orders.yaml": DEPLOYMENT})).deployed
    assert "orders-svc" in orders.workload.hosts


def test_generated_config_maps_are_read() -> None:
    """Literals and files of a kustomization are a ConfigMap like another."""
    texts = {
        "k8s/orders.yaml": DEPLOYMENT.partition("---\napiVersion: v1\nkind: ConfigMap")[0],
        "k8s/kustomization.yaml": "configMapGenerator:\n  - {name: addresses, literals: [A=1], envs: [more.env]}\n",
        "k8s/more.env": "B=2\n",
    }
    env = read(Memory(texts)).deployed[0].workload.env
    assert (env["A"].value, env["B"].value) == ("1", "2")


def test_a_template_is_unknown() -> None:
    """A chart that is not rendered is said to be unknown, once, and given output is read instead."""
    texts = {
        "chart/Chart.yaml": "name: x\n",
        "chart/templates/a.yaml": "kind: Deployment\nname: {{ .Values.name }}\n",
        "chart/templates/b.yaml": "{{ if .Values.b }}\nkind: Service\n{{ end }}\n",
    }
    found = read(Memory(texts), [("<given>", DEPLOYMENT.encode())])
    assert [each.place.file for each in found.unknown if each.place] == ["chart/templates/a.yaml"]
    assert [each.workload.name for each in found.deployed] == ["orders"]


def test_outlier_detection_guards_its_host_and_subsets_do_not() -> None:
    """A rule with subsets only says nothing of the host as a whole."""
    rule = (
        "kind: DestinationRule\nmetadata: {name: r}\n"
        "spec: {host: HOST, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}\n"
    )
    subsets = "kind: DestinationRule\nmetadata: {name: s}\nspec: {host: other, subsets: [{name: v1}]}\n"
    found = read(Memory({"a.yaml": rule.replace("HOST", "stock"), "b.yaml": subsets}))
    assert set(found.guarded) == {"stock"}


def test_a_patch_of_a_kustomization_is_no_workload_of_its_own() -> None:
    """It adds its variables to the one that it names, also from another namespace, and what it deletes is not there by it."""
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: orders, namespace: live}\n"
    files = {
        "k8s/base/orders.yaml": DEPLOYMENT,
        "k8s/base/kustomization.yaml": "resources: [orders.yaml]\n",
        "k8s/live/kustomization.yaml": "resources: [../base]\npatches: [{path: more.yaml}]\npatchesStrategicMerge: [gone.yaml]\n",
        "k8s/live/more.yaml": patch
        + "spec: {template: {spec: {containers: [{name: orders, env: [{name: PRICES_URL, value: 'http://prices'}]}]}}}\n",
        "k8s/live/gone.yaml": patch.replace("name: orders", "name: mailer") + "$patch: delete\n",
    }
    (orders,) = read(Memory(files)).deployed
    assert (orders.workload.image, orders.system) == ("registry/orders:1", "")
    assert orders.workload.env["PRICES_URL"].value == "http://prices"


def test_a_kustomization_that_only_lists_says_nothing() -> None:
    """Resources, labels and a count of replicas change no service, no image and no variable."""
    text = "resources: [orders.yaml]\ncommonLabels: {team: shop}\nreplicas: [{name: orders, count: 3}]\n"
    found = read(Memory({"orders.yaml": DEPLOYMENT, "kustomization.yaml": text}))
    assert (len(found.deployed), found.unknown) == (1, ())
