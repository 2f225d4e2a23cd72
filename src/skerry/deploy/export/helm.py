"""A Helm chart of the same manifests: what differs between clusters is a value. It is written as text, and not rendered here.

Passwords are no values: the chart expects a Secret for each service, made from the files of the export.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from skerry.deploy.export import compose, images, kubernetes
from skerry.deploy.export.plan import EVENTS, Plan
from skerry.deploy.export.writing import SECRETS, document, names_of_secrets

_TEMPLATES: Final = "chart/templates"
_REGISTRY: Final = "registry.invalid"
_TAG: Final = "the-tag"
_CLASS: Final = "the-class"
_LEAST, _MOST = kubernetes.REPLICAS
_IMAGE: Final = "{{ with .Values.registry }}{{ . }}/{{ end }}"
_OF_THE_TAG: Final = "{{ .Values.tag | toString | sha256sum | trunc 10 }}"


def files(plan: Plan, *, tag: str, registry: str = "", gateway_class: str = "") -> dict[str, str]:
    """By path: the chart below `chart/`, and the Dockerfiles."""
    made = kubernetes.files(plan, tag=_TAG, registry=_REGISTRY, gateway_class=_CLASS)
    manifests = {
        name.removeprefix("kubernetes/"): text
        for name, text in made.items()
        if name.startswith("kubernetes/") and name != "kubernetes/namespace.yaml"
    }
    found = {f"{_TEMPLATES}/{name}": _template(text) for name, text in manifests.items()}
    if plan.events:
        found[f"{_TEMPLATES}/{EVENTS}-settings.yaml"] = _settings()
    values = {
        "registry": registry,
        "tag": tag,
        "gatewayClass": gateway_class,
        "replicas": {"least": _LEAST, "most": _MOST},
    }
    chart = {
        "apiVersion": "v2",
        "name": plan.system.name,
        "description": f"The system {plan.system.name}",
        "type": "application",
        "version": "0.1.0",
        "appVersion": tag,
    }
    return {
        "chart/Chart.yaml": document(chart),
        "chart/values.yaml": document(values),
        f"{_TEMPLATES}/NOTES.txt": _notes(plan),
        **found,
        **images.files(plan),
    }


def others(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """What else lies among the chart's templates in `folder`, as of a service that is no more: Helm would install it."""
    return sorted(path for path in (folder / _TEMPLATES).iterdir() if f"{_TEMPLATES}/{path.name}" not in files)


def _template(manifests: str) -> str:
    """Text of the manifests with values in it; what looks like a template in them stays what it is."""
    text = manifests.replace("{{", '{{ "{{" }}')
    text = text.replace(f"image: {_REGISTRY}/", "image: @")
    lines = [_line(line) for line in text.splitlines()]
    whole = "\n".join(lines) + "\n"
    if _CLASS in manifests:
        parts = whole.split("---\n")
        own = [part for part in parts if "gateway.networking.k8s.io/" not in part]
        others = [part for part in parts if "gateway.networking.k8s.io/" in part]
        way_in = "---\n".join(others).replace(_CLASS, "{{ .Values.gatewayClass | quote }}")
        whole = "---\n".join(own) + "{{- if .Values.gatewayClass }}\n---\n" + way_in + "{{- end }}\n"
    return whole


def _line(line: str) -> str:
    indent, _, value = line.partition("image: @")
    if value:
        return f"{indent}image: '{_IMAGE}{value.replace(f':{_TAG}', ':{{ .Values.tag }}')}'"
    line = line.replace(f"minReplicas: {_LEAST}", "minReplicas: {{ .Values.replicas.least }}")
    line = line.replace(f"maxReplicas: {_MOST}", "maxReplicas: {{ .Values.replicas.most }}")
    release = kubernetes.release_of(_TAG)
    if line.startswith("  name: ") and line.endswith(f"-migrate-{release}"):
        name = line.removeprefix("  name: ").removesuffix(release)
        return f"  name: '{name}{_OF_THE_TAG}'"
    return line


def _settings() -> str:
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{EVENTS}-settings"}}
    return document({**head, "data": {compose.BROKER_FILE: compose.broker_settings()}})


def _notes(plan: Plan) -> str:
    lines = [
        f"kubectl create secret generic {name} --from-env-file={SECRETS}/{name}.env" for name in names_of_secrets(plan)
    ]
    return "Each service's secret has to be there first:\n\n" + "\n".join(f"  {line}" for line in lines) + "\n"
