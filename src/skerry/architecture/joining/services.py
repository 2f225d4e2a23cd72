"""Which services there are: one image or one code root is one service, whatever number of workloads run from it."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from skerry.architecture.code.facts import Code, Role
from skerry.architecture.joining import images
from skerry.architecture.manifests import Deployed, Manifests
from skerry.architecture.model import Evidence, Service, Source
from skerry.architecture.source import Files, Place, port_of

_MARKS: Final = {
    "package.json": "javascript", "go.mod": "go", "pom.xml": "java", "build.gradle": "java", "build.gradle.kts": "kotlin",
    "Cargo.toml": "rust", "composer.json": "php", "Gemfile": "ruby", "mix.exs": "elixir",
}  # fmt: skip
_PYTHON_MARKS: Final = frozenset({"alembic.ini", "manage.py", "uwsgi.ini"})
"""Files that stand at the root of an application in Python, where no package file does."""
_SUFFIXES: Final = {
    "py": "python", "go": "go", "java": "java", "js": "javascript", "ts": "javascript", "cs": "csharp", "rb": "ruby",
    "rs": "rust", "php": "php", "ex": "elixir", "kt": "kotlin", "cpp": "c++", "vue": "javascript",
}  # fmt: skip
_ASIDE: Final = re.compile(
    r"(?:^|/)(?:\.[^/]+|benchmarks?|docs?|examples?|extras?|samples?|(?:[\w-]+[_-])?templates?|tests?|node_modules|vendor)(?:/|$)"
)
_BUILD: Final = re.compile(r"(?:^|/)(?:\.?docker(?:files?)?|build|ci|deploy(?:ment)?|infra|ops|images)(?:/|$)")
"""Where Dockerfiles are collected, away from the code that they pack."""
_PLAIN: Final = frozenset({"", "src", "app", "code", "project", "backend", "server"})
_STARTS: Final = re.compile(
    rb"uvicorn\.run\(|\.run\(|serve_forever\(|web\.run_app\(|\.start\(\)|wait_for_termination\("
)
_APP: Final = re.compile(
    rb"\b(?:Flask|FastAPI|Starlette|Sanic|Quart|Bottle|Application|APIRouter|HTTPServer)\(|grpc\.(?:aio\.)?server\("
)
_PORT: Final = re.compile(rb"\bport\s*=\s*(\d{2,5})\b|:(\d{4,5})[\"']")


@dataclass(slots=True)
class Found:
    """The services, and how others reach them."""

    services: dict[str, Service] = field(default_factory=dict)
    deployed: dict[str, list[Deployed]] = field(default_factory=dict)
    hosts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(system, host) to service."""
    ports: dict[int, set[str]] = field(default_factory=dict)
    """What answers on a port of one machine."""
    stores: dict[tuple[str, str], tuple[str, Deployed]] = field(default_factory=dict)
    """(system, host) to the kind of the store that runs there."""
    unknown: list[Evidence] = field(default_factory=list)


def find(files: Files, code: Code, manifests: Manifests) -> Found:
    """Every service of the repository."""
    return _Search(files, code, manifests).run()


class _Search:
    def __init__(self, files: Files, code: Code, manifests: Manifests) -> None:
        self._files = files
        self._code = code
        self._manifests = manifests
        self._found = Found()
        self._paths = list(files.sizes)
        self._roots = self._candidates()

    def run(self) -> Found:
        groups: dict[str, list[Deployed]] = defaultdict(list)
        orphans: list[Deployed] = []
        later: list[Deployed] = []
        for each in self._relevant():
            kind = self._store(each)
            if kind:
                for host in (each.workload.name, *each.workload.hosts):
                    self._found.stores[each.system, host.lower()] = (kind, each)
            elif each.context is None and images.is_tool(each.workload.image):
                continue
            elif each.context is not None or each.form == "skerry":
                self._group(each, groups, orphans)
            else:
                later.append(each)
        for each in later:
            # what is built is known by now: a folder of a package that another one is built from is no service of its own
            self._group(each, groups, orphans)
        self._add_undeployed(groups)
        for root, deployed in sorted(groups.items()):
            self._add(root, deployed)
        self._adopt(orphans, {image for each in groups.values() for one in each if (image := one.workload.image)})
        return self._found

    def _group(self, each: Deployed, groups: dict[str, list[Deployed]], orphans: list[Deployed]) -> None:
        root = self._root(each)
        if root is None:
            orphans.append(each)
            return
        if each.context is None and f"{posixpath.dirname(root)}/__init__.py".lstrip("/") in self._files.sizes:
            root = next((outer for outer in groups if outer != root and _within(root, outer)), root)
        groups[root].append(each)

    def _relevant(self) -> list[Deployed]:
        """Without the systems of examples and tests, where the repository is something else itself."""
        outside = [each for each in self._manifests.deployed if not _ASIDE.search(_place(each))]
        own = any(root == "" or not _ASIDE.search(root + "/") for root in self._manifests.packages)
        return outside if outside or own else list(self._manifests.deployed)

    def _candidates(self) -> dict[str, Place]:
        found: dict[str, Place] = {}
        for path in sorted(self._manifests.dockerfiles):
            found.setdefault(posixpath.dirname(path), Place(path, 1))
        for root, package in self._manifests.packages.items():
            found.setdefault(root, package.place)
        for path in self._paths:
            if path.rpartition("/")[2] in _MARKS or path.rpartition("/")[2] in _PYTHON_MARKS:
                found.setdefault(posixpath.dirname(path), Place(path))
        return found

    def _store(self, each: Deployed) -> str:
        if each.form == "skerry" or each.job:
            return ""  # a job that is made from a database's image fills one, and is none
        if each.context is None:
            return images.store_kind(each.workload.image) or self._store_folder(each)
        made = self._manifests.dockerfiles.get(each.dockerfile)
        return images.store_kind(made.base) if made else ""

    def _store_folder(self, each: Deployed) -> str:
        """An image of one's own that is made from a database's, found by the name of its folder."""
        for path, made in self._manifests.dockerfiles.items():
            name = posixpath.dirname(path).rpartition("/")[2]
            if name == each.workload.name and (kind := images.store_kind(made.base)):
                return kind
        return ""

    def _root(self, each: Deployed) -> str | None:
        if each.context is not None:
            if each.form != "skerry" and (told := self._told(each)) is not None:
                return told
            inner = posixpath.dirname(each.dockerfile) if each.dockerfile else each.context
            deeper = inner != each.context and (not each.context or inner.startswith(f"{each.context}/"))
            return self._up(inner, each.context) if deeper and not _BUILD.search(inner) else each.context
        if each.form == "skerry":
            return f"@{each.system}" if each.role == "gateway" else None
        names = [each.workload.name, each.workload.image.rpartition("/")[2].partition("@")[0].partition(":")[0]]
        found = [root for name in names if name for root in self._named(name)]
        return found[0] if found else None

    def _told(self, each: Deployed) -> str | None:
        """Where the code of an image lies that is built from a whole system's folder, as that system's own file says."""
        for name in (each.workload.name, posixpath.basename(each.dockerfile).partition(".")[0]):
            for other in self._manifests.deployed:
                root = self._root(other) if other.form == "skerry" and other.workload.name == name else None
                if root is not None and (
                    root.startswith("@") or (root != each.context and _within(root, each.context or ""))
                ):
                    return root
        return None

    def _up(self, inner: str, context: str) -> str:
        """`src/cart` for `src/cart/src`: the folder that has the service's name."""
        while inner.rpartition("/")[2] in _PLAIN and inner.rpartition("/")[0] not in {context, ""}:
            inner = inner.rpartition("/")[0]
        return inner

    def _named(self, name: str) -> list[str]:
        """Folders of code that are called like a workload or an image, the best first."""
        wanted = images.bare(name)
        exact, ending = [], []
        for root in self._roots:
            last = images.bare(root.rpartition("/")[2])
            if not last or _ASIDE.search(root) or not self._has_code(root):
                continue
            if last == wanted:
                exact.append(root)
            elif len(last) > 2 and wanted.endswith(last):
                ending.append(root)
        if exact:
            return sorted(exact, key=lambda root: (root.count("/"), root))
        if self._has_folder_of_code(name):
            return [self._folder_of_code(name)]
        return sorted(ending, key=lambda root: (-len(root.rpartition("/")[2]), root))[:1]

    def _folder_of_code(self, name: str) -> str:
        wanted = images.bare(name)
        folders = {
            "/".join(parts[: n + 1])
            for path in self._paths
            if path.rpartition(".")[2] in _SUFFIXES and not _ASIDE.search(path)
            for parts in [path.split("/")[:-1]]
            for n, part in enumerate(parts)
            if images.bare(part) == wanted
        }
        return min(folders, key=lambda each: (each.count("/"), each), default="")

    def _has_folder_of_code(self, name: str) -> bool:
        return bool(self._folder_of_code(name))

    def _has_code(self, root: str) -> bool:
        return bool(self._languages(root))

    def _languages(self, root: str) -> Counter[str]:
        start = f"{root}/" if root else ""
        ends = (path.rpartition(".")[2] for path in self._paths if path.startswith(start) or path == root)
        return Counter(_SUFFIXES[end] for end in ends if end in _SUFFIXES)

    def _add_undeployed(self, groups: dict[str, list[Deployed]]) -> None:
        """Folders that nobody deploys, where they are built or run by themselves."""
        for path in sorted(self._manifests.dockerfiles):
            root = posixpath.dirname(path)
            base = self._manifests.dockerfiles[path].base
            apart = not any(_within(root, other) or _within(other, root) for other in groups)
            if root and apart and not _ASIDE.search(path) and not images.store_kind(base) and self._runs(root):
                groups.setdefault(root, [])
        top = [path for path in self._paths if path.endswith(".py") and "/" not in path]
        if not groups and "" in map(posixpath.dirname, self._manifests.dockerfiles) and any(map(self._starts, top)):
            groups.setdefault("", [])
        if len(groups) < 2 and "" not in groups:
            beside = [root for root in self._roots if root and not _ASIDE.search(root)]
            for root in self._apart([*beside, *groups]):
                if not any(_within(root, other) or _within(other, root) for other in groups):
                    groups.setdefault(root, [])
        if not groups:
            for file in self._programs():
                groups.setdefault(file, [])
        if not groups and self._has_code(""):
            groups.setdefault("", [])

    def _runs(self, root: str) -> bool:
        """Whether something in there answers, listens or starts."""
        code = self._code
        inside = [*(each.place.file for each in code.routes), *(each.place.file for each in code.messages)]
        if any(_within(file, root) for file in inside):
            return True
        python = [path for path in self._paths if _within(path, root) and path.endswith(".py")]
        return any(self._starts(path) for path in python[:200])

    def _starts(self, path: str) -> bool:
        content = self._content(path)
        return (b"__main__" in content and bool(_STARTS.search(content))) or bool(_APP.search(content))

    def _apart(self, roots: list[str]) -> list[str]:
        """Those of `roots` that run and do not stand within another, if there are several."""
        running = [root for root in sorted(roots) if self._has_code(root) and self._runs(root)]
        outer = [root for root in running if not any(_within(root, other) for other in running if other != root)]
        return outer if len(outer) > 1 else []

    def _programs(self) -> list[str]:
        """Files of one folder that are each an application with its own start."""
        folders: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            if path.endswith(".py") and not _ASIDE.search(path) and self._code.roles.get(path) != Role.TEST:
                content = self._content(path)
                if b"__main__" in content and _APP.search(content) and _STARTS.search(content):
                    folders[posixpath.dirname(path)].append(path)
        largest = max(folders.values(), key=len, default=[])
        return largest if len(largest) > 1 else []

    def _content(self, path: str) -> bytes:
        try:
            return self._files.read(path)
        except Exception:  # a file that cannot be read says nothing; it is counted where it is parsed
            return b""

    def _add(self, root: str, deployed: list[Deployed], *, name: str = "") -> None:
        title = name or self._title(root, deployed)
        virtual = root.startswith("@")
        languages = Counter[str]() if virtual or name else self._languages(root)
        python = languages["python"] > 0 or not languages
        language = ""
        if languages:
            language = "python" if languages["python"] * 3 >= languages.total() else languages.most_common(1)[0][0]
        roles = {each.role for each in deployed} - {"service"}
        jobs = bool(deployed) and all(each.job for each in deployed)
        service = Service(
            name=title,
            roots=() if virtual or name else (root,),
            workloads=tuple(each.workload for each in deployed),
            language=language,
            role="job" if jobs else next(iter(roles), self._role(title, root, python=python and language == "python")),
            lines=0 if virtual or name else self._lines(root),
            evidence=tuple(self._evidence(root, deployed)),
        )
        self._found.services[title] = service
        self._found.deployed[title] = deployed
        for each in deployed:
            for host in (each.workload.name, *each.workload.hosts):
                self._found.hosts.setdefault((each.system, host.lower()), title)
            for port in each.workload.ports:
                self._found.ports.setdefault(port, set()).add(title)
        if not deployed and root.endswith(".py"):
            for found in _PORT.finditer(self._content(root)):
                if number := port_of((found[1] or b"").decode()):
                    self._found.ports.setdefault(number, set()).add(title)

    def _role(self, title: str, root: str, *, python: bool) -> str:
        """By the name that it is deployed by, the folder that it lies in, the image that it is made from."""
        role = images.role(title, python=python)
        if role == "service" and images.role(posixpath.basename(root), python=python) == "job":
            return "job"
        made = self._manifests.dockerfiles.get(f"{root}/Dockerfile".lstrip("/"))
        return "gateway" if role == "service" and not python and made and images.is_proxy(made.base) else role

    def _title(self, root: str, deployed: list[Deployed]) -> str:
        last = posixpath.basename(root).removesuffix(".py")
        names = [each.workload.name for each in deployed]
        package = self._manifests.packages.get(root)
        if len(set(names)) == 1:
            title = names[0]
        elif last not in _PLAIN:
            title = next((name for name in names if images.bare(name) == images.bare(last)), last)
        elif names:
            title = min(names, key=lambda name: (len(name), name))
        else:
            title = (package.name if package else "") or posixpath.basename(posixpath.dirname(root)) or "app"
        taken = self._found.services
        if title in taken:
            title = root if root and root not in taken else f"{title} ({root or 'root'})"
        return title

    def _evidence(self, root: str, deployed: list[Deployed]) -> Iterable[Evidence]:
        for each in deployed:
            yield Evidence(f"{each.form} deploys {each.workload.name}", Source.DEPLOY, each.workload.place)
        if not deployed:
            place = self._roots.get(root, Place(root or ".")) if not root.endswith(".py") else Place(root)
            yield Evidence(f"{root or 'the repository'} is built or started by itself", Source.CODE, place)

    def _lines(self, root: str) -> int:
        skip = {Role.TEST, Role.EXAMPLE, Role.GENERATED}
        lines: Mapping[str, int] = self._code.lines
        return sum(n for file, n in lines.items() if _within(file, root) and self._code.roles.get(file) not in skip)

    def _adopt(self, orphans: list[Deployed], images_of_ours: set[str]) -> None:
        """Workloads without code here that are part of the system by the home of their image."""
        homes = {image.rpartition("/")[0] for image in images_of_ours if "/" in image}
        alone = not self._found.services
        for each in sorted(orphans, key=lambda one: one.workload.name):
            image = each.workload.image
            if (
                each.workload.name in self._found.services
                or not each.workload.name
                or images.role(each.workload.name, python=True) == "job"
            ):
                continue
            if each.form == "skerry" or alone or (image.rpartition("/")[0] in homes and "/" in image):
                self._add("@", [each], name=self._title("", [each]))


def _place(each: Deployed) -> str:
    place = each.workload.place
    return place.file if place else ""


def _within(path: str, root: str) -> bool:
    return not root or path == root or path.startswith(f"{root}/")
