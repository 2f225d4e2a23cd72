"""Overlays are applied to the manifests that they build on; what of them is not understood is said."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from repository import Memory

from skerry.architecture.manifests import Deployed, Manifests, read
from skerry.architecture.manifests.kustomize import patching

BASE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  template:
    metadata: {labels: {app: orders}}
    spec:
      initContainers: [{name: wait, image: "busybox:1"}]
      containers:
        - name: orders
          image: registry/orders:1
          ports: [{containerPort: 80}]
          env:
            - {name: STOCK_URL, value: "http://stock"}
            - {name: DATABASE_URL, value: "postgresql://db/dev"}
          envFrom: [{configMapRef: {name: addresses}}]
---
apiVersion: v1
kind: Service
metadata: {name: orders-svc}
spec: {selector: {app: orders}, ports: [{port: 80}]}
"""
FILES = {
    "k8s/base/orders.yaml": BASE,
    "k8s/base/kustomization.yaml": "resources: [orders.yaml]\nconfigMapGenerator: [{name: addresses, literals: [A=1, B=2]}]\n",
}
LIVE = "k8s/live/kustomization.yaml"


def built(overlay: str, more: dict[str, str] | None = None) -> tuple[Deployed, Manifests]:
    """The one workload that there is with an overlay, and all else that was read."""
    found = read(Memory({**FILES, LIVE: f"resources: [../base]\n{overlay}", **(more or {})}))
    (orders,) = found.deployed
    return orders, found


def test_a_strategic_merge_changes_variables_in_the_container_of_that_name() -> None:
    """What the patch says wins, what it deletes is gone, the rest stays; each variable knows the file that gave it its value."""
    containers = (
        "[{name: orders, env: [{name: DATABASE_URL, value: 'postgresql://db/live'}, {name: STOCK_URL, $patch: delete}, "
        "{name: MORE, value: '1'}], ports: [{containerPort: 9090}]}, {name: sidecar, image: envoy}]"
    )
    patch = (
        f"kind: Deployment\nmetadata: {{name: orders}}\nspec: {{template: {{spec: {{containers: {containers}}}}}}}\n"
    )
    orders, found = built("patches: [{path: env.yaml}]\n", {"k8s/live/env.yaml": patch})
    env = orders.workload.env
    assert {name: each.value for name, each in env.items()} == {
        "DATABASE_URL": "postgresql://db/live", "MORE": "1", "A": "1", "B": "2"
    }  # fmt: skip
    assert str(env["DATABASE_URL"].place) == "k8s/live/env.yaml:3"
    assert (orders.workload.ports, orders.workload.image, found.unknown) == ((80, 9090), "registry/orders:1", ())


@pytest.mark.parametrize("field", ["patches", "patchesJson6902"])
def test_a_json_patch_edits_by_pointer(field: str) -> None:
    """Operations of RFC 6902 in a block of text, at the lines where they stand."""
    pointer = "/spec/template/spec/containers/0/env"
    overlay = (
        f"{field}:\n  - target: {{kind: Deployment, name: ord.*}}\n    patch: |-\n"
        f"      - {{op: replace, path: {pointer}/1/value, value: 'postgresql://db/live'}}\n"
        f"      - {{op: add, path: {pointer}/-, value: {{name: MORE, value: '1'}}}}\n"
        f"      - {{op: remove, path: {pointer}/0}}\n"
    )
    env = built(overlay)[0].workload.env
    assert env.keys() == {"DATABASE_URL", "MORE", "A", "B"}
    assert (env["DATABASE_URL"].value, str(env["DATABASE_URL"].place)) == ("postgresql://db/live", f"{LIVE}:5")


def test_an_inline_strategic_merge_is_a_patch_too() -> None:
    """In `patchesStrategicMerge` a text of several lines is the patch itself."""
    overlay = (
        "patchesStrategicMerge:\n  - |\n    kind: Deployment\n    metadata: {name: orders}\n"
        "    spec: {template: {spec: {containers: [{name: orders, image: other}]}}}\n"
    )
    assert built(overlay)[0].workload.image == "other"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("newTag: '7'", "registry/orders:7"),
        ("newName: shop/orders", "shop/orders:1"),
        ("newName: shop/orders, newTag: '7'", "shop/orders:7"),
        ("digest: 'sha256:ab'", "registry/orders@sha256:ab"),
    ],
)
def test_images_are_renamed(image: str, expected: str) -> None:
    """By the name without tag, in all containers."""
    assert built(f"images: [{{name: registry/orders, {image}}}]\n")[0].workload.image == expected


def test_names_and_namespace_are_how_others_reach_it() -> None:
    """A workload is called as its file has it; its host and its Service's have the prefix and the suffix too."""
    orders, _ = built("namePrefix: live-\nnameSuffix: -b\nnamespace: shop\n")
    assert (orders.workload.name, orders.system) == ("orders", "shop")
    assert {"orders-svc", "live-orders-svc-b", "live-orders-b"} <= set(orders.workload.hosts)


def test_generated_config_maps_are_merged() -> None:
    """`merge` adds to what the base makes, and a file with variables counts like literals."""
    overlay = "configMapGenerator: [{name: addresses, behavior: merge, literals: [B=3], envs: [more.env]}]\n"
    env = built(overlay, {"k8s/live/more.env": "C=4\n"})[0].workload.env
    assert [env[name].value for name in "ABC"] == ["1", "3", "4"]
    assert str(env["C"].place) == "k8s/live/more.env:1"


def test_a_component_changes_what_there_is_before_it() -> None:
    """It is applied where it is asked for."""
    more = {"k8s/tls/kustomization.yaml": "kind: Component\nimages: [{name: registry/orders, newTag: tls}]\n"}
    assert built("components: [../tls]\n", more)[0].workload.image == "registry/orders:tls"
    orders, found = built("", more)
    assert orders.workload.image == "registry/orders:1"
    assert any(
        "k8s/tls/kustomization.yaml" in each.text and "no kustomization uses" in each.text for each in found.unknown
    )


def test_a_deleted_workload_is_not_there() -> None:
    """A patch takes a resource of the base away."""
    patch = "[{patch: '{kind: Deployment, metadata: {name: orders}, $patch: delete}'}]"
    assert read(Memory({**FILES, LIVE: f"resources: [../base]\npatches: {patch}\n"})).deployed == ()


def test_of_alternatives_the_one_for_production_is_read_and_the_others_are_named() -> None:
    """Overlays of one base exclude each other; a patch of another changes nothing, and what only it has is read as it stands."""
    tag = (
        "resources: [../base{more}]\nimages: [{{name: registry/orders, newTag: {tag}}}]\npatches: [{{path: p.yaml}}]\n"
    )
    container = "{name: orders, env: [{name: N, value: M}]}"
    patch = (
        f"kind: Deployment\nmetadata: {{name: orders}}\nspec: {{template: {{spec: {{containers: [{container}]}}}}}}\n"
    )
    mailer = BASE.partition("---")[0].replace("orders", "mailer")
    files = {f"k8s/{name}/kustomization.yaml": tag.format(more="", tag=name) for name in ("dev", "prod")}
    files |= {f"k8s/{name}/p.yaml": patch.replace("M", name).replace("N", name) for name in ("dev", "prod")}
    files |= {
        "k8s/qa/kustomization.yaml": "resources: [../base, mailer.yaml]\nnamePrefix: qa-\n",
        "k8s/qa/mailer.yaml": mailer,
    }
    found = read(Memory({**FILES, **files}))
    one = {each.workload.name: each.workload for each in found.deployed}
    assert (one.keys(), one["orders"].image) == ({"orders", "mailer"}, "registry/orders:prod")
    assert "prod" in one["orders"].env
    assert "dev" not in one["orders"].env
    assert "qa-mailer" in one["mailer"].hosts
    (said,) = found.unknown
    assert "k8s/prod/kustomization.yaml is read" in said.text
    assert "k8s/dev/kustomization.yaml, k8s/qa/kustomization.yaml" in said.text


@pytest.mark.parametrize(
    ("overlay", "what"),
    [
        ("replacements: [{path: r.yaml}]\n", "replacements"),
        ("helmCharts: [{name: redis}]\n", "helmCharts"),
        ("patches: [{target: {labelSelector: app=orders}, patch: '[{op: remove, path: /spec}]'}]\n", "by its labels"),
        ("patches: [{target: {name: '(a+)+$'}, patch: '[{op: remove, path: /spec}]'}]\n", "such a pattern"),
        ("patches: [{target: {kind: Deployment}, patch: '[{op: move, from: /a, path: /b}]'}]\n", "move /b"),
        (
            "patches: [{target: {kind: Deployment}, patch: '[{op: replace, path: /spec/none/x, value: 1}]'}]\n",
            "/spec/none/x",
        ),
        ("patches: [{target: {kind: Deployment}, patch: '[{'}]\n", "not YAML"),
        ("patches: [{path: gone.yaml}]\n", "gone.yaml"),
    ],
)
def test_what_is_not_understood_is_said(overlay: str, what: str) -> None:
    """With the file, and what to give instead; the rest of the overlay is applied."""
    orders, found = built(f"{overlay}images: [{{name: registry/orders, newTag: '2'}}]\n")
    assert orders.workload.image == "registry/orders:2"
    (said,) = found.unknown
    assert what in said.text
    assert "kustomize build" in said.text
    assert said.place is not None
    assert said.place.file == LIVE


def test_what_is_elsewhere_is_said_and_not_fetched() -> None:
    """A resource with a URL, or out of the repository, is not read."""
    found = read(Memory({LIVE: "resources: ['https://example.com/all.yaml']\n"}))
    assert "https://example.com/all.yaml, which is not in the repository" in found.unknown[0].text


def test_a_circle_and_too_much_cost_only_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kustomizations that build on each other are read as they stand, and so is one that takes more steps than are allowed."""
    circle = {
        "a/kustomization.yaml": "resources: [../b, o.yaml]\n",
        "b/kustomization.yaml": "resources: [../a]\n",
        "a/o.yaml": BASE,
    }
    assert len(read(Memory(circle)).deployed) == 1
    monkeypatch.setattr(patching, "MAX_STEPS", 5)
    orders, found = built("images: [{name: registry/orders, newTag: '2'}]\n")
    assert orders.workload.image == "registry/orders:1"
    assert any("too many steps" in each.text for each in found.unknown)


def test_folders_that_double_at_each_step_end() -> None:
    """Floors that each build on the next one twice are a million builds; they are given up."""
    rooms = {}
    for floor in range(18):
        for room in "ab":
            rooms[f"{floor}{room}/kustomization.yaml"] = f"resources: [../{floor + 1}a, ../{floor + 1}b]\n"
    rooms |= {f"18{room}/kustomization.yaml": "resources: [o.yaml]\n" for room in "ab"} | {"18a/o.yaml": BASE}
    rooms["kustomization.yaml"] = "resources: [0a, 0b]\n"
    found = read(Memory(rooms))
    assert [each.workload.name for each in found.deployed] == ["orders"]
    assert any("too many steps" in each.text for each in found.unknown)
