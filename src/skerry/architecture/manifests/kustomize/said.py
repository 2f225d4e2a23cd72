"""What one kustomization says: what it builds on, what it changes, and what of it nobody here understands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skerry.architecture.manifests.reader import below, folder
from skerry.architecture.manifests.yaml import Node
from skerry.architecture.model import Evidence, Source
from skerry.architecture.source import Place

_CHANGES: Final = (
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "images",
    "namePrefix",
    "nameSuffix",
    "configMapGenerator",
    "secretGenerator",
)
_NOT_UNDERSTOOD: Final = ("replacements", "vars", "generators", "transformers", "helmCharts")
"""What can change who a workload is, its image, or its variables, and is not applied."""
_MAIN: Final = re.compile(r"(?:^|[/_-])(?:prod|prd|production|live|release)(?:$|[/_-])")


def is_kustomization(path: str, node: Node) -> bool:
    """Whether a document is one, by its kind or by the name of its file."""
    return node["kind"].text in {"Kustomization", "Component"} or path.rpartition("/")[2].startswith("kustomization.")


@dataclass(frozen=True, slots=True, eq=False)
class Kustomization:
    """One document. Two of them are equal only when they are the same."""

    path: str
    node: Node

    @property
    def folder(self) -> str:
        """What others name it by; `` for the root."""
        return folder(self.path)

    @property
    def component(self) -> bool:
        """Whether it changes what others have, and builds nothing by itself."""
        return self.node["kind"].text == "Component"

    @property
    def main(self) -> bool:
        """Whether it is for production, by the name of its folder."""
        return bool(_MAIN.search(self.folder))

    @property
    def changes(self) -> bool:
        """Whether what it builds on is another thing afterwards."""
        return any(self.node[name].items or self.node[name].text for name in (*_CHANGES, *_NOT_UNDERSTOOD))

    def below(self, *names: str) -> Iterator[str]:
        """The paths, in the repository, of what these of its lists name."""
        for name in names:
            for each in self.node[name].texts():
                path = below(self.folder, each)
                if path is not None:
                    yield path

    def remote(self) -> list[str]:
        """What it builds on that is no file here."""
        listed = [each for name in ("resources", "bases", "components") for each in self.node[name].texts()]
        return [each for each in listed if below(self.folder, each) is None]

    def patch_files(self) -> Iterator[str]:
        """Each is a part of a workload, and no workload by itself."""
        listed = [each["path"].text for name in ("patches", "patchesJson6902") for each in self.node[name].items]
        for each in (*listed, *self.node["patchesStrategicMerge"].texts()):
            file = below(self.folder, each) if each and "\n" not in each else None
            if file is not None:
                yield file

    def open(self) -> Iterator[Evidence]:
        """One sentence, where building it would change what is read here by something that is not applied."""
        left = [name for name in _NOT_UNDERSTOOD if self.node[name].items or self.node[name].text]
        if left:
            yield self.unapplied(", ".join(left), self.node[left[0]].line)
        if remote := self.remote():
            yield self.unapplied(f"{remote[0][:120]}, which is not in the repository", self.node["resources"].line)

    def alternatives(self, others: str) -> Evidence:
        """That it is read, and others that build on the same are not."""
        text = (
            f"{self.path} is read, and not what else builds on the same ({others}); "
            "give the output of `kustomize build` of another as a manifest"
        )
        return Evidence(text, Source.DEPLOY, Place(self.path, self.node.line))

    def unused(self, more: int) -> Evidence:
        """That it is a component, and there are so many more, of nothing."""
        others = f" and {more} more" if more else ""
        text = f"{self.path}{others}: a component that no kustomization uses is not applied"
        return Evidence(text, Source.DEPLOY, Place(self.path, self.node.line))

    def unapplied(self, what: str, line: int) -> Evidence:
        """That something of it is read as it stands."""
        text = (
            f"{self.path}: what this kustomization changes ({what}) is not applied; "
            "give the output of `kustomize build` as a manifest"
        )
        return Evidence(text, Source.DEPLOY, Place(self.path, line))
