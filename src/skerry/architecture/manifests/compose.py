"""Compose files: all those of a folder as one project, the plain one first.

Files beside it (`override`, `prod`, `stage`) add services and variables; where two give one variable a value, the plain file's
stands, for the others are further environments of the same system.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from skerry.architecture.manifests.found import Deployed
from skerry.architecture.manifests.reader import Reader, below, folder
from skerry.architecture.manifests.variables import env_file, expand, unresolved
from skerry.architecture.manifests.yaml import Node
from skerry.architecture.model import Setting, Workload
from skerry.architecture.source import Place, port_of

_NAME: Final = re.compile(r"(?:.*[.-])?(?:docker-)?compose(?:[.-].+)?\.ya?ml", re.IGNORECASE)
_PLAIN: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_SERVICES: Final = re.compile(r"^services:\s*(?:#.*)?$", re.MULTILINE)
_BUILT: Final = re.compile(r"^ {2,8}(?:image|build):", re.MULTILINE)
_WHERE: Final = "${PWD}"
_SHOWN: Final = (".example", ".sample", ".template", ".dist", "-example", "-sample")
MAX_EXTENDS: Final = 8
MAX_SERVICES: Final = 2_000


def is_compose(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def _looks_like_one(reader: Reader, path: str) -> bool:
    """Whether a file with a name of its own, such as `compose/local.yml`, holds services with images."""
    if not path.endswith((".yml", ".yaml")) or any(part.startswith(".") for part in path.split("/")):
        return False
    text = reader.text(path)
    return bool(_SERVICES.search(text) and _BUILT.search(text))


def read(reader: Reader) -> Iterator[Deployed]:
    """Every service of every project."""
    projects: dict[str, list[str]] = defaultdict(list)
    for path in reader.paths:
        if is_compose(path.rpartition("/")[2]) or _looks_like_one(reader, path):
            projects[folder(path)].append(path)
    for system, paths in sorted(projects.items()):
        project = _Project(reader, system)
        for path in sorted(paths, key=_order):
            project.add(path)
        yield from project.deployed()


def _order(path: str) -> tuple[int, int, str]:
    name = path.rpartition("/")[2]
    plain = _PLAIN.index(name) if name in _PLAIN else len(_PLAIN)
    return (plain, 0 if "override" in name else 1, path)


class _Project:
    def __init__(self, reader: Reader, system: str) -> None:
        self._reader = reader
        self._system = system
        self._services: dict[str, list[tuple[str, Node]]] = defaultdict(list)
        self._volumes: set[str] = set()
        env = self._env_file(below(system, ".env") or ".env")
        self._values = {name: value for name, (value, _) in self._env(env).items()} if env else {}

    def add(self, path: str) -> None:
        for document in self._reader.yaml(path)[:1]:
            self._volumes.update(document["volumes"].fields)
            services = document["services"].fields
            if not services and "version" not in document.fields:
                # the form before version 2: services stand at the top
                services = {
                    name: node
                    for name, node in document.fields.items()
                    if node["image"].text or node["build"].weight > 1
                }
            for name, node in services.items():
                if node.fields and len(self._services) < MAX_SERVICES:
                    self._services[name].append((path, node))

    def deployed(self) -> Iterator[Deployed]:
        for name, parts in sorted(self._services.items()):
            chain = [each for path, node in parts for each in self._extended(path, node, 0)]
            yield self._one(name, chain)

    def _extended(self, path: str, node: Node, depth: int) -> list[tuple[str, Node]]:
        """A service's node and what it extends, the nearest first."""
        found = [(path, node)]
        extends = node["extends"]
        other = extends["service"].text or extends.text
        if other and depth < MAX_EXTENDS:
            file = below(folder(path), extends["file"].text) if extends["file"].text else path
            if file in self._reader.known:
                base = next(iter(self._reader.yaml(file)), Node()).at("services", other)
                if base.fields:
                    found += self._extended(file, base, depth + 1)
        return found

    def _one(self, name: str, chain: list[tuple[str, Node]]) -> Deployed:
        def first(*names: str) -> str:
            return next((self._expand(text) for _, node in chain if (text := node.at(*names).text)), "")

        env = self._variables(chain)
        hosts = [name, first("container_name"), first("hostname")]
        for _, node in chain:
            networks = node["networks"].fields.values()
            hosts += [alias for network in networks for alias in network["aliases"].texts()]
        context, dockerfile = self._build(chain)
        path, node = chain[0]
        return Deployed(
            workload=Workload(
                name=name,
                place=Place(path, max(node.line - 1, 1)),
                image=first("image"),
                command=self._expand(
                    " ".join(part for key in ("entrypoint", "command") for part in _texts(chain, key))
                ),
                hosts=tuple(dict.fromkeys(host for host in hosts if host)),
                ports=tuple(sorted(set(self._ports(chain)))),
                env=env,
                waits_for=tuple(sorted({each for _, node in chain for each in _names(node["depends_on"])})),
            ),
            system=self._system,
            form="compose",
            context=context,
            dockerfile=dockerfile,
            mounts=tuple(self._mounts(chain)),
        )

    def _build(self, chain: list[tuple[str, Node]]) -> tuple[str | None, str]:
        for path, node in chain:
            build = node["build"]
            context = self._expand(build["context"].text or build.text or ("." if build.fields else ""))
            if not context:
                continue
            start = self._folder(path, context)
            if start is None:
                return None, ""
            name = self._expand(build["dockerfile"].text) or "Dockerfile"
            return start, below(start, name) or ""
        return None, ""

    def _folder(self, path: str, context: str) -> str | None:
        """What is built from. `$PWD` is where the command is given: beside the file, or at the root of the repository."""
        if not context.startswith(_WHERE):
            return below(folder(path), context)
        rest = context.removeprefix(_WHERE).strip("/") or "."
        found = [each for each in (below(folder(path), rest), below("", rest)) if each is not None]
        there = (each for each in found if each and any(one.startswith(f"{each}/") for one in self._reader.paths))
        return next(there, found[0] if found else None)

    def _variables(self, chain: list[tuple[str, Node]]) -> dict[str, Setting]:
        found: dict[str, Setting] = {}
        for path, node in chain:
            for name, value in node["environment"].pairs():
                found.setdefault(name, self._setting(name, value, path))
            # later files win over earlier ones, and `environment` over all of them
            for each in reversed(node["env_file"].items or [node["env_file"]]):
                file = self._env_file(below(folder(path), self._expand(each["path"].text or each.text)))
                if file:
                    for name, (known, line) in self._env(file).items():
                        found.setdefault(name, Setting(known, Place(file, line)))
        return found

    def _env_file(self, file: str | None) -> str:
        """A file of variables; where it is kept out of the repository, the one beside it that shows what it looks like."""
        candidates = [file, *(f"{file}{ending}" for ending in _SHOWN)] if file else []
        return next((each for each in candidates if each and each in self._reader.known), "")

    def _setting(self, name: str, value: Node, path: str) -> Setting:
        text = self._expand(f"${{{name}}}" if value.missing else value.text)
        left = unresolved(text)
        place = Place(path, value.line)
        if not left:
            return Setting(text, place)
        # the project's folder and the variables that are missing: where these are equal, so are the values
        secret = f"{self._system or '.'}/{text}" if text.startswith("${") and text.endswith("}") else ""
        return Setting(None if secret else text, place, secret=secret)

    def _ports(self, chain: list[tuple[str, Node]]) -> Iterator[int]:
        for _, node in chain:
            for item in (*node["ports"].items, *node["expose"].items):
                text = self._expand(item["target"].text or item.text)
                target = text.rpartition(":")[2].partition("/")[0]
                published = text.rpartition(":")[0].rpartition(":")[2]
                for each in (target, published):
                    if number := port_of(each):
                        yield number

    def _mounts(self, chain: list[tuple[str, Node]]) -> Iterator[tuple[str, str]]:
        for _, node in chain:
            for item in node["volumes"].items:
                if item.fields:
                    source, target = item["source"].text, item["target"].text
                else:
                    source, _, target = item.text.partition(":")
                    target = target.partition(":")[0]
                if source and target:
                    where = source if source in self._volumes else below(self._system, source) or source
                    yield f"{self._system}:{where}", target

    def _env(self, path: str) -> Mapping[str, tuple[str, int]]:
        return env_file(self._reader.text(path))

    def _expand(self, text: str) -> str:
        return expand(text, self._values)


def _texts(chain: list[tuple[str, Node]], key: str) -> tuple[str, ...]:
    return next((texts for _, node in chain if (texts := node[key].texts())), ())


def _names(node: Node) -> tuple[str, ...]:
    return tuple(node.fields) or node.texts()
