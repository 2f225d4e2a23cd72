"""What a folder of Python is called and needs: pyproject.toml, requirements files, setup.py, Pipfile."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from skerry.architecture.manifests.found import Dependency, Package
from skerry.architecture.manifests.reader import Reader, below, folder
from skerry.architecture.source import Place

_REQUIREMENTS: Final = re.compile(r"(?:.*[-_.])?requirements?(?:[-_.].*)?\.(?:txt|in)", re.IGNORECASE)
_NAME: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)")
_GIT: Final = re.compile(r"git\+(?P<url>[^@#\s;]+(?:@[^@#\s;/]+/[^@#\s;]+)?)(?:@(?P<rev>[^#\s;]+))?(?:#(?P<rest>\S+))?")
MAX_LINES: Final = 5_000


def is_package(name: str) -> bool:
    return name in {"pyproject.toml", "setup.py", "setup.cfg", "Pipfile"} or bool(_REQUIREMENTS.fullmatch(name))


def read(reader: Reader) -> dict[str, Package]:
    """By folder; the requirements in a folder `requirements` belong to the folder above it."""
    found: dict[str, Package] = {}
    for path in reader.paths:
        name = path.rpartition("/")[2]
        inside = re.search(r"(?:^|/)requirements/[^/]+\.(?:txt|in)$", path)
        if not is_package(name) and not inside:
            continue
        root = folder(folder(path)) if inside else folder(path)
        title, needs = _one(reader, path, name)
        known = found.get(root)
        dependencies = (*(known.dependencies if known else ()), *needs)
        place = known.place if known else Place(path)
        found[root] = Package(
            root=root, place=place, name=title or (known.name if known else ""), dependencies=dependencies
        )
    return found


def _one(reader: Reader, path: str, name: str) -> tuple[str, tuple[Dependency, ...]]:
    text = reader.text(path)
    if name == "setup.py":
        return _setup(path, text)
    if name in {"pyproject.toml", "Pipfile"}:
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError):
            reader.skip(path, "not TOML")
            return "", ()
        return _toml(path, text, document)
    if name == "setup.cfg":
        return "", ()
    return "", tuple(_lines(path, text))


def _lines(path: str, text: str) -> Iterator[Dependency]:
    for number, line in enumerate(text.splitlines()[:MAX_LINES], 1):
        bare = line.split(" #", 1)[0].strip()
        bare = re.sub(r"^(?:-e|--editable)[\s=]+", "", bare)
        if bare and not bare.startswith(("#", "-")):
            found = _requirement(bare, Place(path, number))
            if found:
                yield found


def _requirement(text: str, place: Place) -> Dependency | None:
    git = _GIT.search(text)
    start = folder(place.file)
    if git:
        egg = re.search(r"egg=([\w.-]+)", git["rest"] or "")
        before = _NAME.match(text) if "@ git+" in text.replace("@git+", "@ git+") else None
        name = (
            egg[1] if egg else before[1] if before else git["url"].rstrip("/").rpartition("/")[2].removesuffix(".git")
        )
        return Dependency(name, place, git=git["url"], pinned=git["rev"] or "")
    local = re.search(r"(?:file:(?://)?)(\S+)", text)
    if local or text.startswith((".", "/")):
        path = below(start, (local[1] if local else text.split("[", maxsplit=1)[0].split(";", maxsplit=1)[0].strip()))
        return None if path is None else Dependency(path.rpartition("/")[2], place, path=path or ".")
    found = _NAME.match(text)
    return Dependency(found[1], place) if found else None


def _toml(path: str, text: str, document: dict[str, Any]) -> tuple[str, tuple[Dependency, ...]]:
    project = _table(document, "project")
    poetry = _table(document, "tool", "poetry")
    name = str(project.get("name") or poetry.get("name") or "")
    places = _Lines(path, text)
    found = [_requirement(each, places.of(each)) for each in _strings(project.get("dependencies"))]
    sources = _table(document, "tool", "uv", "sources")
    tables = [_table(poetry, "dependencies"), sources, _table(document, "packages")]
    for table in tables:
        for key, value in table.items():
            found += [_described(key, each, places) for each in (value if isinstance(value, list) else [value])]
    return name, tuple(each for each in found if each is not None)


def _described(name: str, value: Any, places: _Lines) -> Dependency | None:
    place = places.of(name)
    if isinstance(value, str):
        return Dependency(name, place)
    if not isinstance(value, dict):
        return None
    if value.get("path"):
        path = below(folder(place.file), str(value["path"]))
        return None if path is None else Dependency(name, place, path=path or ".")
    if value.get("git"):
        revision = next((str(value[key]) for key in ("branch", "tag", "rev", "ref") if value.get(key)), "")
        return Dependency(name, place, git=str(value["git"]), pinned=revision)
    return Dependency(name, place)


class _Lines:
    """Where in a file a text first stands; TOML itself does not tell."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()[:MAX_LINES]

    def of(self, text: str) -> Place:
        return Place(self._path, next((n for n, line in enumerate(self._lines, 1) if text in line), 0))


def _setup(path: str, text: str) -> tuple[str, tuple[Dependency, ...]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", ()
    name, found = "", []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                name = str(keyword.value.value)
            elif keyword.arg == "install_requires" and isinstance(keyword.value, ast.List):
                needs = [each for each in keyword.value.elts if isinstance(each, ast.Constant)]
                found += [_requirement(str(each.value), Place(path, each.lineno)) for each in needs]
    return name, tuple(each for each in found if each is not None)


def _table(document: Any, *names: str) -> dict[str, Any]:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
