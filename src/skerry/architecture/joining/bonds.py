"""Code of one service that another is built with: imports, packages, files that an image takes in."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from skerry.architecture.code.facts import Code, Import, Role
from skerry.architecture.manifests import Manifests
from skerry.architecture.model import Bond, Service, Source, SystemModel
from skerry.architecture.source import Place

_ASIDE: Final = frozenset({Role.TEST, Role.EXAMPLE, Role.SCRIPT})
_CONTRACT: Final = (
    "_pb2",
    "_pb2_grpc",
    "client",
    "constants",
    "contracts",
    "dto",
    "events",
    "messages",
    "proto",
    "schemas",
    "stubs",
)


def find(code: Code, manifests: Manifests, model: SystemModel) -> tuple[Bond, ...]:
    """Every bond, by the two services that it binds."""
    contexts = {each.dockerfile: each.context or "" for each in manifests.deployed if each.dockerfile}
    bonds = [*imports(code, model, manifests), *packages(manifests, model), *copies(manifests, model, contexts)]
    return tuple(sorted(bonds, key=lambda each: (each.service, each.other)))


class Modules:
    """Which file a module's name means, seen from a service."""

    def __init__(self, code: Code, model: SystemModel) -> None:
        self._model = model
        self._files = frozenset(code.imports) | frozenset(code.lines)
        self._folders = frozenset(posixpath.dirname(file) for file in self._files)

    def meant(self, service: Service, file: str, each: Import) -> str | None:
        """The file or folder; None for what the service has itself and for what is not of this repository."""
        if each.level:
            start = file
            for _ in range(each.level):
                start = posixpath.dirname(start)
            return self._at(start, each)
        own = [*service.roots, *(f"{root}/src" if root else "src" for root in service.roots), posixpath.dirname(file)]
        if any(self._at(posixpath.dirname(base) if base.endswith(".py") else base, each, whole=False) for base in own):
            return None
        above = {"", "src"}
        for root in service.roots:
            parts = root.split("/")
            above.update("/".join(parts[:n]) for n in range(len(parts)))
        for base in sorted(above, key=len, reverse=True):
            found = self._at(base, each)
            if found is not None:
                return found
        return None

    def _at(self, base: str, each: Import, *, whole: bool = True) -> str | None:
        """What stands for a module below `base`; with `whole` False, whether its first part does."""
        parts = [part for part in each.module.split(".") if part]
        parts = parts if whole else parts[:1]
        path = posixpath.join(base, *parts) if parts else base
        for name in each.names if whole else ():
            if f"{path}/{name}.py" in self._files:
                return f"{path}/{name}.py"
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if file in self._files:
                return file
        # a folder alone is a package only by the names of its files, or as a whole
        return path if path and path in self._folders and not (whole and each.names) else None


def imports(code: Code, model: SystemModel, manifests: Manifests) -> Iterator[Bond]:
    """Imports of one service's modules by another; not of a published package that has the name of a folder."""
    modules = Modules(code, model)
    published = {
        root: {_bare(each.name) for each in package.dependencies if not each.path and not each.git}
        for root, package in manifests.packages.items()
    }
    for file, found in code.imports.items():
        owner = model.service_of(file)
        if owner is None or code.roles.get(file) in _ASIDE:
            continue
        service = model.services[owner]
        bought = {name for root in service.roots for name in published.get(root, ())}
        for each in found:
            if not each.level and _bare(each.module.partition(".")[0]) in bought:
                continue
            meant = modules.meant(service, file, each)
            other = model.service_of(meant) if meant else None
            if meant and other and other != owner and _apart(service, model.services[other]):
                last = posixpath.basename(meant).removesuffix(".py")
                contract = last.endswith(_CONTRACT) or code.roles.get(meant) is Role.GENERATED or each.typing_only
                yield Bond(
                    owner,
                    other,
                    f"{owner} imports {each.module or meant} of {other}",
                    each.place,
                    Source.CODE,
                    contract,
                )


def shared_models(code: Code, model: SystemModel) -> Iterator[tuple[str, dict[str, Place]]]:
    """Folders outside of every service that map tables, with the services that import them."""
    modules = Modules(code, model)
    libraries = {
        posixpath.dirname(table.place.file)
        for table in code.tables
        if table.model and not table.abstract and _outside(model, table.place.file)
        and code.roles.get(table.place.file) not in {*_ASIDE, Role.MIGRATION}
    }  # fmt: skip
    users: dict[str, dict[str, Place]] = defaultdict(dict)
    for file, found in code.imports.items() if libraries else ():
        owner = model.service_of(file)
        if owner is None or _outside(model, file) or code.roles.get(file) in _ASIDE:
            continue
        for each in found:
            meant = modules.meant(model.services[owner], file, each)
            library = posixpath.dirname(meant) if meant and meant.endswith(".py") else meant
            if library in libraries:
                users[library or ""].setdefault(owner, each.place)
    for library, places in sorted(users.items()):
        if len(places) > 1:
            yield library, places


def packages(manifests: Manifests, model: SystemModel) -> Iterator[Bond]:
    """Packages that one service needs and that are another service."""
    named = {_bare(each.name): root for root, each in manifests.packages.items() if each.name}
    for root, package in manifests.packages.items():
        owner = model.service_of(_inside(root))
        for each in package.dependencies:
            target = each.path or (named.get(_bare(each.name)) if each.git else None)
            other = model.service_of(_inside("" if target == "." else target)) if target else None
            if not owner or not other or other == owner or not target:
                continue
            if any(_within(target, other_root) for other_root in model.services[other].roots if other_root):
                how = f"{owner} needs the package {each.name} of {other}" + (
                    f", at {each.pinned}" if each.pinned else ""
                )
                yield Bond(owner, other, how, each.place, Source.DEPLOY)


def copies(manifests: Manifests, model: SystemModel, contexts: Mapping[str, str]) -> Iterator[Bond]:
    """Images that take in another service's folder. `contexts` are the folders that Dockerfiles are built in."""
    for path, dockerfile in manifests.dockerfiles.items():
        owner = model.service_of(path)
        if owner is None:
            continue
        for source, place in dockerfile.copies:
            taken = posixpath.normpath(posixpath.join(contexts.get(path, posixpath.dirname(path)), source.lstrip("/")))
            other = model.service_of(taken)
            if other is None or other == owner or not _apart(model.services[owner], model.services[other]):
                continue
            if any(root and _within(taken, root) for root in model.services[other].roots) and "proto" not in taken:
                yield Bond(owner, other, f"the image of {owner} takes in {taken} of {other}", place, Source.DEPLOY)


def _outside(model: SystemModel, file: str) -> bool:
    owner = model.service_of(file)
    return owner is None or model.services[owner].role == "library" or model.services[owner].roots == ("",)


def _apart(one: Service, other: Service) -> bool:
    """Whether neither stands within the other: a folder within a service's own is a part of it."""
    if other.role in {"library", "gateway"} or not other.roots:
        return False
    return not any(_within(a, b) or _within(b, a) for a in one.roots for b in other.roots)


def _inside(root: str) -> str:
    return f"{root}/-" if root else "-"


def _within(path: str, root: str) -> bool:
    return not root or path == root or path.startswith(f"{root}/")


def _bare(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
