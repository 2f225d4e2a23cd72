"""The modules of a monolith, and what each says of the others: imports, models and their foreign keys, names.

Source is read by patterns rather than parsed: what is looked for stands on lines of its own, a syntax that this interpreter
does not know does not matter, and a million lines take seconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from skerry.architecture.code.parse import decode
from skerry.architecture.source import Files, Unreadable

MAX_MODULES: Final = 20_000
_NOT: Final = frozenset({
    "tests", "test", "testing", "migrations", "versions", "docs", "doc", "examples", "example", "scripts", "node_modules",
    "site-packages", "venv", "vendor", "vendored", "third_party", "build", "dist", "benchmarks", "fixtures",
})  # fmt: skip
_NOT_FILES: Final = (
    "test_*", "*_test", "*_tests", "test", "tests", "conftest", "setup", "manage", "noxfile", "fabfile", "*_pb2", "*_pb2_grpc",
)  # fmt: skip
_TEST_FILE: Final = re.compile("(?:" + "|".join(each.replace("*", ".*") for each in _NOT_FILES) + r")\.py")
_IMPORT: Final = re.compile(r"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_FROM: Final = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)", re.MULTILINE)
_CLASS: Final = re.compile(r"^class[ \t]+(\w+)(?:\[[^\]]*\])?[ \t]*(?:\(([^)]{0,400})\))?", re.MULTILINE)
_DEFINED: Final = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
_KEY: Final = re.compile(
    r"\b(?:ForeignKey|OneToOneField|ManyToManyField|GenericRelation|ParentalKey|ParentalManyToManyField|relationship)"
    r"\(\s*(?:to\s*=\s*)?(\"[^\"\n]{1,120}\"|'[^'\n]{1,120}'|[\w.]+)"
)
_TABLE: Final = re.compile(r"\b(?:__tablename__|db_table)\s*=\s*[\"']([^\"'\n]{1,120})[\"']")
_COLUMN: Final = re.compile(
    r"\b(?:models\.\w*Field|ForeignKey|ParentalKey|mapped_column|Mapped\[|Column|Field)\b\s*[(\[]|__tablename__|\bclass Meta\b"
)
_MODEL_BASE: Final = re.compile(r"(?:Model|Base|Document|db\.Model|SQLModel|Mixin|TimeStamped\w*|AbstractUser)\b")
_WORD: Final = re.compile(r"[A-Z]\w{2,60}")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key: the model that has it, and the one it points at, as it is written."""

    model: str
    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """What one module says."""

    path: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    """Dots, module, names."""
    models: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    tables: tuple[str, ...] = ()
    mentions: frozenset[str] = frozenset()
    """Names that begin with a capital."""
    names: Mapping[str, int] = field(default_factory=dict)
    """Parts of the names that it defines, and how often."""
    lines: int = 0


def is_module(path: str) -> bool:
    """Whether `path` is code that would go to one of the services: Python, no test, no migration, no script beside it."""
    if not path.endswith(".py"):
        return False
    parts = path.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and not _NOT.intersection(parts[:-1]) and not _TEST_FILE.fullmatch(parts[-1])


def no_modules() -> tuple[str, ...]:
    """What `is_module` says no to, as patterns of paths; names that begin with a dot are left to who uses them."""
    return (*(f"**/{name}" for name in sorted(_NOT)), *(f"**/{name}.py" for name in _NOT_FILES))


def read_modules(files: Files) -> dict[str, Module]:
    """Every module, by its path; files that cannot be read are there with nothing in them."""
    found: dict[str, Module] = {}
    for path in files.sizes:
        if is_module(path) and len(found) < MAX_MODULES:
            try:
                found[path] = read_module(path, files.read(path))
            except Unreadable:
                found[path] = Module(path)
    return found


def read_module(path: str, content: bytes) -> Module:
    """What `content` says. Never raises for it."""
    text = decode(content)
    classes = [(match.start(), match[1], match[2] or "") for match in _CLASS.finditer(text)]
    keys: list[Key] = []
    models: list[str] = []
    for number, (start, name, bases) in enumerate(classes):
        end = classes[number + 1][0] if number + 1 < len(classes) else len(text)
        body = text[start:end]
        own = [(match[1].strip("\"'"), start + match.start()) for match in _KEY.finditer(body)]
        if own or (_MODEL_BASE.search(bases) and _COLUMN.search(body)):
            models.append(name)
        keys += [Key(name, target, text.count("\n", 0, place) + 1) for target, place in own]
    names: Counter[str] = Counter()
    for defined in _DEFINED.findall(text):
        names.update(part.lower() for part in _PART.findall(defined) if len(part) > 2)
    return Module(
        path=path,
        imports=tuple(_imports(text)),
        models=tuple(dict.fromkeys(models)),
        keys=tuple(keys),
        tables=tuple(_TABLE.findall(text)),
        mentions=frozenset(_WORD.findall(text)),
        names=names,
        lines=sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")),
    )


def _imports(text: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for match in _IMPORT.finditer(text):
        for each in match[1].split(","):
            words = each.split()
            if words:
                yield 0, words[0], ()
    for match in _FROM.finditer(text):
        names = re.sub(r"#[^\n]*", "", match[3]).strip("() \t\\")
        taken = tuple(words[0] for each in names.split(",") if (words := each.split()))
        yield len(match[1]), match[2], taken


class Names:
    """Dotted names of modules, and where they are."""

    def __init__(self, paths: frozenset[str]) -> None:
        self._places: dict[str, str] = {}
        self._names: dict[str, str] = {}
        packages = {str(PurePosixPath(path).parent) for path in paths if path.endswith("/__init__.py")}
        for path in sorted(paths):
            parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
            for start in range(len(parts)):
                if start and "/".join(parts[:start]) in packages:
                    break
                self._places.setdefault(".".join(parts[start:]), path)
                self._names[path] = ".".join(parts[start:])

    def name(self, path: str) -> str:
        """What a module is called from the folder above its outermost package."""
        return self._names[path]

    def targets(self, module: Module) -> Iterator[tuple[str, str]]:
        """Each module that `module` imports, and the name by which it does."""
        package = module.path.split("/")[:-1]
        for level, name, taken in module.imports:
            if level:
                above = package[: len(package) - level + 1]
                name = ".".join([*above, *([name] if name else [])])  # noqa: PLW2901
            for each in taken or ("",):
                full = f"{name}.{each}" if each else name
                found = self._places.get(full) or self._places.get(name) or self._parent(name)
                if found and found != module.path:
                    yield found, full

    def _parent(self, name: str) -> str:
        parts = name.split(".")
        for length in range(len(parts) - 1, 1, -1):
            found = self._places.get(".".join(parts[:length]))
            if found:
                return found
        return ""
