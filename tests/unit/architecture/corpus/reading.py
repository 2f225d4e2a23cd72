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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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

    def write(self, folder: Path) -> None:
        for path, text in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


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
