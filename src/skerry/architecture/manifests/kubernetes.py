"""Kubernetes manifests: plain, or as `kustomize build` and `helm template` print them.

A workload that stands in several files (overlays, environments) is one; the file nearest to the root says what it is, the
others add to it. A template of Helm is not guessed at: it is reported as unknown.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from skerry.architecture.manifests import kustomize
from skerry.architecture.manifests.compose import is_compose
from skerry.architecture.manifests.found import Deployed
from skerry.architecture.manifests.kustomize import Built, Document, Kustomization
from skerry.architecture.manifests.reader import Reader, folder
from skerry.architecture.manifests.yaml import Node
from skerry.architecture.model import Evidence, Setting, Source, Workload
from skerry.architecture.source import Place, port_of

_WORKLOADS: Final = frozenset(
    {"CronJob", "DaemonSet", "Deployment", "DeploymentConfig", "Job", "Pod", "ReplicaSet", "Rollout", "StatefulSet"}
)
_ELSEWHERE: Final = re.compile(r"(?:^|/)(?:\.github|docs?|e2e|examples?|extras?|iac|overlays?|samples?|tests?)(?:/|$)")
MAX_FILES: Final = 5_000


class Cluster:
    """What all manifests say together."""

    def __init__(self) -> None:
        self.deployed: list[Deployed] = []
        self.guarded: dict[str, list[Evidence]] = defaultdict(list)
        self.unknown: list[Evidence] = []


def read(reader: Reader) -> Cluster:
    """Every workload, and every host that a mesh guards."""
    cluster = _Reading(reader)
    paths = [path for path in reader.paths if path.endswith((".yaml", ".yml", ".json")) or path in reader.given]
    charts = {folder(path) for path in reader.paths if path.rpartition("/")[2] == "Chart.yaml"}
    for path in sorted(paths, key=_rank)[:MAX_FILES]:
        name = path.rpartition("/")[2]
        if is_compose(name) or (path.endswith(".json") and path not in reader.given):
            continue
        chart = _chart(path, charts)
        if chart is not None:
            if not _ELSEWHERE.search(chart):
                cluster.template(chart, path)
        elif ("/.github/" not in f"/{path}" and "kind:" in (text := reader.text(path))) or name.startswith(
            "kustomization."
        ):
            if (
                "apiVersion:" in text
                and re.search(r"^(?:kind|apiVersion|  name|spec|metadata):?[^#\n]*\{\{|^\s*\{\{", text, re.MULTILINE)
                and path not in reader.given
            ):
                cluster.template(path, path)
            else:
                for document in reader.yaml(path):
                    cluster.document(path, document)
    cluster.finish()
    return cluster.found


def _rank(path: str) -> tuple[bool, int, str]:
    return (bool(_ELSEWHERE.search(path)), path.count("/"), path)


def _chart(path: str, charts: set[str]) -> str | None:
    """The chart whose template `path` is."""
    return next((chart for chart in charts if path.startswith(f"{chart}/templates/" if chart else "templates/")), None)


class _Reading:
    def __init__(self, reader: Reader) -> None:
        self.found = Cluster()
        self._reader = reader
        self._files: dict[str, list[Document]] = defaultdict(list)
        self._kustomizations: list[Kustomization] = []
        self._data: dict[str, list[tuple[str, Kustomization | None, dict[str, Setting]]]] = defaultdict(list)
        self._templates: set[str] = set()

    def template(self, what: str, path: str) -> None:
        if what not in self._templates:
            self._templates.add(what)
            kind = "a Helm chart" if what != path else "a template"
            text = (
                f"{what or 'the root'}: {kind} that is not rendered; give the output of `helm template` as a manifest"
            )
            self.found.unknown.append(Evidence(text, Source.DEPLOY, Place(path)))

    def document(self, path: str, node: Node) -> None:
        if node["kind"].text == "List":
            for item in node["items"].items:
                self.document(path, item)
        elif kustomize.is_kustomization(path, node):
            self._kustomizations.append(Kustomization(path, node))
        else:
            self._files[path].append(Document(path, node))

    def finish(self) -> None:
        result = kustomize.build(self._kustomizations, self._files, self._reader)
        self.found.unknown += result.said
        for each in self._kustomizations:
            self.found.unknown += each.open()
        left_out = {path for each in result.applied for path in each.patch_files()}
        built: dict[Document, list[Built]] = defaultdict(list)
        for one in result.built:
            built[one.document].append(one)
        plain = [each for path, those in self._files.items() if path not in left_out for each in those]
        documents = dict.fromkeys((*plain, *built))
        everything = [one for each in documents for one in built.get(each) or [Built(each, each.node)]]
        self._read([one for one in everything if one.node["$patch"].text != "delete"])

    def _read(self, manifests: list[Built]) -> None:
        for each in manifests:
            if each.node["kind"].text in {"ConfigMap", "Secret"}:
                self._take_data(each)
            elif each.node["kind"].text == "DestinationRule":
                self._guard(each.document.path, each.node)
        patches = {path for each in self._kustomizations for path in each.patch_files()}
        found: dict[tuple[str, str], Deployed] = {}
        workloads = [each for each in manifests if each.node["kind"].text in _WORKLOADS]
        for each in sorted(workloads, key=lambda one: one.document.path in patches):
            made = self._workload(each)
            key = (made.system, made.workload.name)
            if each.document.path in patches:
                # a patch that is not applied adds to what it names, in whatever namespace the overlay puts it
                key = next((one for one in found if one[1] == key[1]), key)
            found[key] = _merged(found[key], made) if key in found else made
        for each in manifests:
            if each.node["kind"].text == "Service":
                self._name(each, found)
        self.found.deployed += found.values()

    def _take_data(self, built: Built) -> None:
        node, secret = built.node, built.node["kind"].text == "Secret"
        path, name = built.document.path, node.at("metadata", "name").text
        values = {}
        for key, value in (*node["data"].fields.items(), *node["stringData"].fields.items()):
            reference = f"{name}/{key}" if secret else ""
            values[key] = Setting(None if secret else value.text, Place(value.file or path, value.line), reference)
        self._data[name].append((path, built.top, values))

    def _guard(self, path: str, node: Node) -> None:
        """A rule whose outlier detection holds for the whole host; one for subsets only guards nothing by itself."""
        policy = node.at("spec", "trafficPolicy")
        detection = policy["outlierDetection"]
        host = node.at("spec", "host").text
        if not host or not detection.fields:
            return
        text = (
            f"DestinationRule {node.at('metadata', 'name').text} ejects failing instances of {host} (outlierDetection)"
        )
        self.found.guarded[host].append(Evidence(text, Source.DEPLOY, Place(path, detection.line)))

    def _workload(self, built: Built) -> Deployed:
        path, node = built.document.path, built.node
        kind, spec = node["kind"].text, node["spec"]
        if kind == "CronJob":
            spec = spec.at("jobTemplate", "spec")
        pod = spec if kind == "Pod" else spec.at("template", "spec")
        labels = (node if kind == "Pod" else spec["template"]).at("metadata", "labels")
        name = built.name
        containers = pod["containers"].items
        main = next((each for each in containers if each["name"].text == name), next(iter(containers), Node()))
        env: dict[str, Setting] = {}
        for container in (main, *containers, *pod["initContainers"].items):
            for key, setting in self._variables(built, container).items():
                env.setdefault(key, setting)
        ports = [port["containerPort"].text for each in containers for port in each["ports"].items]
        volumes = {
            each["name"].text: each.at("persistentVolumeClaim", "claimName").text for each in pod["volumes"].items
        }
        mounts = [(volumes.get(each["name"].text, ""), each["mountPath"].text) for each in main["volumeMounts"].items]
        return Deployed(
            workload=Workload(
                name=name,
                place=Place(path, node.line),
                image=main["image"].text,
                command=" ".join((*main["command"].texts(), *main["args"].texts())),
                hosts=(built.called,) if built.called else (),
                ports=tuple(sorted({port_of(each) for each in ports} - {0})),
                env=env,
                waits_for=(),
            ),
            system=node.at("metadata", "namespace").text,
            form="kubernetes",
            job=kind in {"Job", "CronJob"},
            labels={key: value.text for key, value in labels.fields.items()},
            mounts=tuple((f"pvc:{claim}", target) for claim, target in mounts if claim),
        )

    def _variables(self, built: Built, container: Node) -> dict[str, Setting]:
        found: dict[str, Setting] = {}
        for each in container["env"].items:
            source = each["valueFrom"]
            file = each["value"].file or each.file or built.document.path
            setting = Setting(each["value"].text, Place(file, each["value"].line or each.line))
            if source.fields:
                secret, config = source["secretKeyRef"], source["configMapKeyRef"]
                reference = secret if secret.fields else config
                name, key = reference["name"].text, reference["key"].text
                known = self._lookup(built, name).get(key)
                secretly = f"{name}/{key}" if secret.fields else ""
                setting = Setting(known.value if known else None, Place(file, each.line), secretly)
            found[each["name"].text] = setting
        for each in container["envFrom"].items:
            for kind in ("configMapRef", "secretRef"):
                prefix = each["prefix"].text
                values = self._lookup(built, each.at(kind, "name").text)
                for key, value in values.items():
                    found.setdefault(prefix + key, value)
        return found

    def _lookup(self, built: Built, name: str) -> dict[str, Setting]:
        """The ConfigMap or Secret of that name which the same overlay has, else the one that stands nearest."""
        candidates = self._data.get(name, [])
        if not candidates:
            return {}
        path = f"/{built.document.path}"
        near = max(
            candidates,
            key=lambda each: (
                built.top is not None and each[1] is built.top,
                len(posixpath.commonpath([f"/{each[0]}", path])),
            ),
        )
        return near[2]

    def _name(self, built: Built, found: dict[tuple[str, str], Deployed]) -> None:
        """A Service's name is a host of every workload that it selects, as its file has it and as an overlay calls it."""
        service = built.node
        name, namespace = service.at("metadata", "name").text, service.at("metadata", "namespace").text
        selector = {key: value.text for key, value in service.at("spec", "selector").fields.items()}
        ports = {port_of(each["port"].text) for each in service.at("spec", "ports").items} - {0}
        for key, each in found.items():
            chosen = selector and all(each.labels.get(label) == value for label, value in selector.items())
            if chosen and (not namespace or namespace == each.system):
                work = each.workload
                hosts = tuple(dict.fromkeys(filter(None, (*work.hosts, name, built.called))))
                work = replace(work, hosts=hosts, ports=tuple(sorted({*work.ports, *ports})))
                found[key] = replace(each, workload=work)


def _merged(first: Deployed, other: Deployed) -> Deployed:
    """`first` with the variables and the image that only `other` has."""
    work = first.workload
    image = work.image or other.workload.image
    return replace(first, workload=replace(work, image=image, env={**other.workload.env, **work.env}))


def proxy_guards(reader: Reader) -> Iterator[tuple[str, Evidence]]:
    """Clusters of Envoy with `circuit_breakers` or `outlier_detection`, by cluster name and by host."""
    for path in reader.paths:
        if not path.endswith((".yaml", ".yml")) or "envoy" not in path.lower():
            continue
        for document in reader.yaml(path):
            listed = document.at("static_resources", "clusters").items or document["clusters"].items
            for cluster in listed:
                guard = next(
                    (each for name in ("outlier_detection", "circuit_breakers") if (each := cluster[name]).fields), None
                )
                if guard is None:
                    continue
                name = cluster["name"].text
                evidence = Evidence(
                    f"Envoy's cluster {json.dumps(name)} breaks the circuit", Source.DEPLOY, Place(path, guard.line)
                )
                hosts = _addresses(cluster, 0)
                for host in {name, *hosts}:
                    yield host, evidence


def _addresses(node: Node, depth: int) -> set[str]:
    if depth > 12:
        return set()
    found = {node.at("socket_address", "address").text} - {""}
    for each in (*node.fields.values(), *node.items):
        found |= _addresses(each, depth + 1)
    return found
