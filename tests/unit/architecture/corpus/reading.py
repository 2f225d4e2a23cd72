"""Cases: small repositories with what is to be found in them, several in a file.

    === name
    services api peer          a compose file in which `api` knows the addresses of the others
    expect one two             a finding about these services (of a rule that judges a whole system)
    trap why                   there must be none
    --- path/of/file.py
    call()  #!                 a finding at this line
    call(timeout=2)  #?        a trap: none at this line

The marks are taken out before a file is written, so the analyser never sees them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from skerry.architecture.build import build
from skerry.architecture.code.extract import extract
from skerry.architecture.code.resolve import resolve
from skerry.architecture.rules import RULES, Subject
from skerry.architecture.source import Skipped

STAND_ON_CALLS = {"chatty", "no-circuit-breaker", "no-compensation", "no-timeout", "sync-chain"}
CASES = Path(__file__).parent / "cases"
DOCKERFILE = 'FROM python:3.12-slim\nCOPY . /srv\nCMD ["python", "-m", "app"]\n'
PEER = 'from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get("/a")\ndef a():\n    return {}\n'


@dataclass(slots=True)
class Mark:
    """A line, and the lines of the function around it."""

    file: str
    line: int
    found: bool
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class Case:
    rule: str
    name: str
    files: dict[str, str] = field(default_factory=dict)
    expected: tuple[str, ...] = ()
    trap: str = ""
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Memory:
    """Files without a disk."""

    contents: Mapping[str, bytes]
    skipped: tuple[Skipped, ...] = ()

    @property
    def sizes(self) -> Mapping[str, int]:
        return {path: len(self.contents[path]) for path in sorted(self.contents)}

    def read(self, path: str) -> bytes:
        return self.contents[path]


def subject_of(texts: Mapping[str, str]) -> Subject:
    """What a rule is given, of files with these texts. There is no history and there are no traces."""
    files = Memory({path: text.encode() for path, text in texts.items()})
    read = [path for path in files.sizes if path.endswith((".py", ".sql"))]
    code = resolve({path: extract(path, files.read(path)) for path in read})
    return Subject(files=files, code=code, model=build(files, code))


@cache
def can_be_judged(rule: str) -> bool:
    """Whether the rule is there, and calls are read if it stands on them."""
    if rule not in {each.name for each in RULES}:
        return False
    probe = subject_of({"app.py": "import requests\n\n\ndef ask():\n    return requests.get('http://peer/a')\n"})
    return rule not in STAND_ON_CALLS or bool(probe.code.calls)


def cases() -> list[Case]:
    return [case for file in sorted(CASES.glob("*.cases")) for case in _read(file)]


def _read(file: Path) -> Iterator[Case]:
    for block in file.read_text().split("=== ")[1:]:
        head, *parts = block.split("\n--- ")
        name, *lines = head.split("\n")
        case = Case(file.stem, name.strip())
        for part in parts:
            path, _, text = part.partition("\n")
            case.files[path] = _unmarked(case, path, text.rstrip("\n") + "\n" if text.strip() else "")
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "services":
                _compose(case, rest.split())
            elif word == "expect":
                case.expected = tuple(rest.split())
            elif word == "trap":
                case.trap = rest
        yield case


def _unmarked(case: Case, path: str, text: str) -> str:
    lines = []
    marks = []
    for number, line in enumerate(text.split("\n"), 1):
        bare = line
        if line.endswith(("  #!", "  #?")):
            bare = line[:-4]
            marks.append(Mark(path, number, line.endswith("!")))
        lines.append(bare)
    plain = "\n".join(lines)
    if marks:
        _place(marks, ast.parse(plain))
    case.marks += marks
    return plain


def _place(marks: list[Mark], tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            for mark in marks:
                if first <= mark.line <= (node.end_lineno or 0):
                    mark.first, mark.last = first, node.end_lineno or 0
    for mark in marks:
        mark.first, mark.last = mark.first or mark.line, mark.last or mark.line


def _compose(case: Case, names: list[str]) -> None:
    own, *others = names
    lines = ["services:", f"  {own}:", f"    build: ./{own}", "    environment:", "      LOG_LEVEL: info"]
    for other in others:
        lines += [f"      {other.upper()}_URL: http://{other}:8000", f"      {other.upper()}_ADDR: {other}:50051"]
    for other in others:
        lines += [f"  {other}:", f"    build: ./{other}"]
    case.files.setdefault("compose.yaml", "\n".join(lines) + "\n")
    for name in names:
        case.files.setdefault(f"{name}/Dockerfile", DOCKERFILE)
        if not any(path.startswith(f"{name}/") and path.endswith(".py") for path in case.files):
            case.files[f"{name}/app.py"] = PEER
