"""Builds what the kustomizations of a repository make of its manifests, without kustomize."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.manifests.kustomize.generating import generated
from skerry.architecture.manifests.kustomize.patching import NotApplied, Steps, TooMuch, edited, merged
from skerry.architecture.manifests.kustomize.said import Kustomization
from skerry.architecture.manifests.reader import Reader, below
from skerry.architecture.manifests.yaml import Node, documents
from skerry.architecture.model import Evidence
from skerry.architecture.source import Unreadable

MAX_DEPTH: Final = 20
"""Kustomizations that build on each other."""
_ALTERNATIVES: Final = 6
"""Those that are named."""
_PATTERN: Final = re.compile(r"[\w.|-]*(?:\.\*[\w.|-]*){0,2}")
"""Names in targets that are matched: no pattern of these takes long."""
_LONGEST: Final = 200
"""Characters of one, and of a name that it is held against."""
_NATIVE: Final = re.compile(r"^(?:v1|(?:apps|batch|autoscaling|policy)/.*|[\w.]+\.k8s\.io/.*)$")
"""Versions of what Kubernetes knows itself, whose lists are merged by their keys."""
_CONTAINERS: Final = ("containers", "initContainers")
_IMAGE: Final = re.compile(r"^(?P<name>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>.+))?$")


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One manifest as it stands in a file."""

    path: str
    node: Node


@dataclass(slots=True, eq=False)
class Built:
    """A manifest after an overlay. `called` is its name in the cluster, where that is another one than in its file."""

    document: Document
    node: Node
    top: Kustomization | None = None
    """By which it was built: its ConfigMaps are those of the same one."""
    called: str = ""

    @property
    def name(self) -> str:
        """As the file has it."""
        return self.document.node.at("metadata", "name").text


@dataclass(slots=True)
class Result:
    """What was built, and what is to be said of it."""

    built: list[Built] = field(default_factory=list)
    applied: set[Kustomization] = field(default_factory=set)
    """Whose patches are applied, or left out with the alternative that they are of."""
    said: list[Evidence] = field(default_factory=list)


def build(kustomizations: Sequence[Kustomization], files: Mapping[str, Sequence[Document]], reader: Reader) -> Result:
    """`files` are the manifests by path. `kustomizations` are in the order in which one of several alternatives is preferred."""
    builder = _Builder(kustomizations, files, reader)
    used = {name for each in kustomizations for name in each.below("resources", "bases", "components")}
    tops = [each for each in kustomizations if not each.component and not {each.folder, each.path} & used]
    unused = [each for each in kustomizations if each.component and not {each.folder, each.path} & used]
    if unused:
        builder.result.said.append(unused[0].unused(len(unused) - 1))
    for top in sorted(tops, key=lambda each: not each.main):
        try:
            builder.top(top)
        except TooMuch:
            builder.result.said.append(top.unapplied("it takes too many steps", top.node.line))
    return builder.finish()


class _Builder:
    def __init__(
        self, kustomizations: Sequence[Kustomization], files: Mapping[str, Sequence[Document]], reader: Reader
    ) -> None:
        self.result = Result()
        self._reader = reader
        self._by_folder = {each.folder: each for each in kustomizations}
        self._files = files
        self._steps = Steps()
        self._claimed: dict[Document, Kustomization] = {}
        self._others: dict[Kustomization, list[Kustomization]] = defaultdict(list)
        self._said: dict[str, Evidence] = {}
        self._used: set[Kustomization] = set()
        self._patches: dict[str, list[Node]] = {}

    def top(self, top: Kustomization) -> None:
        self._used = set()
        built = self._build(top, [], ())
        for each in built:
            each.top = top
            owner = self._claimed.setdefault(each.document, top)
            if owner is top:
                self.result.built.append(each)
            elif top.changes and top not in self._others[owner]:
                self._others[owner].append(top)
        self.result.applied |= self._used

    def finish(self) -> Result:
        for owner, others in self._others.items():
            names = ", ".join(each.path for each in others[:_ALTERNATIVES])
            more = f" and {len(others) - _ALTERNATIVES} more" if len(others) > _ALTERNATIVES else ""
            self.result.said.append(owner.alternatives(f"{names}{more}"))
        self.result.said += self._said.values()
        return self.result

    def _build(self, one: Kustomization, have: list[Built], above: tuple[Kustomization, ...]) -> list[Built]:
        """What there is after a kustomization; a component changes what there is before it, too."""
        if one in above or len(above) > MAX_DEPTH:
            return have
        self._steps.take(1 + len(have))
        self._used.add(one)
        found = [*have] if one.component else []
        for path in one.below("resources", "bases"):
            inner = self._by_folder.get(path)
            if inner is not None:
                found += self._build(inner, [], (*above, one))
            else:
                found += [Built(each, each.node) for each in self._files.get(path, ())]
                if path not in self._reader.known:
                    missing = one.unapplied(
                        f"{path}, which is no file and no kustomization", one.node["resources"].line
                    )
                    self._said.setdefault(one.path, missing)
            self._steps.take(1 + len(found))
        for path in one.below("components"):
            if (component := self._by_folder.get(path)) is not None:
                found = self._build(component, found, (*above, one))
        self._generate(one, found)
        self._patch(one, found)
        self._named(one, found)
        self._images(one, found)
        return found

    def _generate(self, one: Kustomization, found: list[Built]) -> None:
        for behaviour, node in generated(one, self._reader):
            self._steps.take(1 + len(found) + len(node["data"].fields))
            kind, name = node["kind"].text, node.at("metadata", "name").text
            known = next((each for each in found if (each.node["kind"].text, each.name) == (kind, name)), None)
            if known is None:
                found.append(Built(Document(one.path, node), node))
            else:
                known.node = node if behaviour == "replace" else merged(known.node, node, self._steps)

    def _patch(self, one: Kustomization, found: list[Built]) -> None:
        for patch, target, line in self._of(one):
            self._steps.take(1 + len(found))
            chosen = [each for each in found if _meant(each, target, patch)]
            try:
                if _pattern_of(target) is None:
                    raise NotApplied("a target that is chosen by its labels or by such a pattern")
                for each in chosen:
                    each.node = self._changed(each.node, patch)
            except NotApplied as problem:
                self._said.setdefault(one.path, one.unapplied(f"a patch: {problem}", line))

    def _changed(self, node: Node, patch: Node) -> Node:
        if patch.items:
            return edited(node, patch, self._steps)
        if patch["$patch"].text == "delete":
            return patch
        named = {name: each for name, each in patch.fields.items() if name not in {"apiVersion", "kind"}}
        metadata = {name: each for name, each in patch["metadata"].fields.items() if name not in {"name", "namespace"}}
        named["metadata"] = replace(patch["metadata"], fields=metadata)
        native = bool(_NATIVE.match(node["apiVersion"].text))
        return merged(node, replace(patch, fields=named), self._steps, lists=native)

    def _of(self, one: Kustomization) -> Iterator[tuple[Node, Node, int]]:
        """Every patch with its target and its line."""
        for text in one.node["patchesStrategicMerge"].items:
            for patch in self._read(one, text.text, text, inline="\n" in text.text):
                yield patch, Node(), text.line
        for name in ("patches", "patchesJson6902"):
            for each in one.node[name].items:
                given = each["patch"] if each["patch"].text else each["path"]
                for patch in self._read(one, given.text, given, inline=given is each["patch"]):
                    yield patch, each["target"], each.line

    def _read(self, one: Kustomization, text: str, given: Node, *, inline: bool) -> list[Node]:
        if not inline:
            path = below(one.folder, text)
            if path in self._reader.known:
                return self._reader.yaml(path)
            self._said.setdefault(one.path, one.unapplied(f"{text[:120]}, which is not there", given.line))
            return []
        key = f"{one.path}:{given.line}:{text}"
        if key not in self._patches:
            try:
                # the text of a block begins on the line below its key
                self._patches[key] = documents(text, one.path, before=given.line - ("\n" not in text))
            except Unreadable as problem:
                self._said.setdefault(one.path, one.unapplied(f"a patch: {problem}", given.line))
                self._patches[key] = []
        return self._patches[key]

    def _named(self, one: Kustomization, found: list[Built]) -> None:
        prefix, suffix, namespace = one.node["namePrefix"].text, one.node["nameSuffix"].text, one.node["namespace"]
        self._steps.take(len(found))
        for each in found:
            if prefix or suffix:
                each.called = f"{prefix}{each.called or each.name}{suffix}"[:253]
            if namespace.text and each.node["metadata"].fields:
                metadata = each.node["metadata"]
                inside = replace(metadata, fields={**metadata.fields, "namespace": namespace})
                each.node = replace(each.node, fields={**each.node.fields, "metadata": inside})

    def _images(self, one: Kustomization, found: list[Built]) -> None:
        wanted = {each["name"].text: each for each in one.node["images"].items if each["name"].text}
        if not wanted:
            return
        for each in found:
            each.node = self._with_images(each.node, wanted, 0)

    def _with_images(self, node: Node, wanted: Mapping[str, Node], depth: int) -> Node:
        """`node` with other images in the containers of its pods, however deep its kind keeps them."""
        self._steps.take(1 + len(node.fields))
        changed: dict[str, Node] = {}
        for name in _CONTAINERS:
            if node[name].items:
                self._steps.take(len(node[name].items))
                changed[name] = replace(node[name], items=[_imaged(each, wanted) for each in node[name].items])
        for name in ("spec", "template", "jobTemplate"):
            if node[name].fields and depth < 6:
                changed[name] = self._with_images(node[name], wanted, depth + 1)
        return replace(node, fields={**node.fields, **changed}) if changed else node


def _imaged(container: Node, wanted: Mapping[str, Node]) -> Node:
    image = container["image"]
    parts = _IMAGE.match(image.text)
    new = wanted.get(parts["name"]) if parts else None
    if parts is None or new is None:
        return container
    name = new["newName"].text or parts["name"]
    tag, digest = new["newTag"].text, new["digest"].text
    if not tag and not digest:
        tag, digest = parts["tag"] or "", parts["digest"] or ""
    text = f"{name}:{tag}" if tag else name
    text = f"{text}@{digest}" if digest else text
    changed = Node(new.line, text, new.file)
    return replace(container, fields={**container.fields, "image": changed})


def _pattern_of(target: Node) -> Mapping[str, str] | None:
    """What a target asks for, by field; None where that is not understood."""
    asked = {name: target[name].text for name in ("kind", "name", "namespace", "group", "version")}
    others = any(target[name].text for name in ("labelSelector", "annotationSelector"))
    known = all(len(text) <= _LONGEST and _PATTERN.fullmatch(text) for text in asked.values())
    return asked if known and not others else None


def _meant(each: Built, target: Node, patch: Node) -> bool:
    """Whether a patch is for a manifest: by its target, else by the kind and the name that it has itself."""
    if not target.fields:
        same = (patch["kind"].text, patch.at("metadata", "name").text) == (each.node["kind"].text, each.name)
        return same and bool(each.name)
    asked = _pattern_of(target)
    if asked is None:
        return False
    group, _, version = each.node["apiVersion"].text.rpartition("/")
    has = {
        "kind": each.node["kind"].text,
        "name": each.name,
        "namespace": each.node.at("metadata", "namespace").text,
        "group": group,
        "version": version,
    }
    return all(not text or re.fullmatch(text, has[name][:_LONGEST]) for name, text in asked.items())
