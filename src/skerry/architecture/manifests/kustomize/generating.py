"""ConfigMaps and Secrets that a kustomization makes of literals and of files with variables."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.architecture.manifests.kustomize.said import Kustomization
from skerry.architecture.manifests.reader import Reader, below
from skerry.architecture.manifests.variables import env_file
from skerry.architecture.manifests.yaml import Node


def generated(one: Kustomization, reader: Reader) -> Iterator[tuple[str, Node]]:
    """Each with what becomes of one that is there already: `create`, `merge` or `replace`."""
    for kind, field in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for each in one.node[field].items:
            data = dict(each["literals"].pairs())
            for env in (*each["envs"].texts(), *each["env"].texts()):
                file = below(one.folder, env)
                if file in reader.known:
                    lines = env_file(reader.text(file)).items()
                    data.update({key: Node(line, value, file) for key, (value, line) in lines})
            fields = {
                "kind": Node(each.line, kind, one.path),
                "metadata": Node(each.line, file=one.path, fields={"name": each["name"]}),
                "data": Node(each.line, file=one.path, fields=data),
            }
            yield each["behavior"].text or "create", Node(each.line, file=one.path, fields=fields)
