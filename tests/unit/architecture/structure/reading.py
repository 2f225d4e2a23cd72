"""Small repositories as text."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from skerry.architecture.code.extract import FileFacts, extract
from skerry.architecture.code.facts import Call, Code, Kind, Target, Workflow
from skerry.architecture.code.resolve import resolve
from skerry.architecture.code.structure.graph import Names
from skerry.architecture.code.structure.imports import Modules
from skerry.architecture.code.structure.workflows import Workflows
from skerry.architecture.source import Place


def facts(files: dict[str, str]) -> dict[str, FileFacts]:
    return {path: extract(path, dedent(text).encode()) for path, text in files.items()}


def code(**files: str) -> Code:
    """All of it; a file `a__b` is `a/b.py`."""
    return resolve(facts({f"{name.replace('__', '/')}.py": text for name, text in files.items()}))


def workflows(text: str, asks: Iterable[tuple[str, str, str]] = ()) -> tuple[Workflow, ...]:
    """Workflows of one file in which each line that holds the first text of `asks` is a call: text, operation and whom."""
    source = dedent(text)
    calls = tuple(
        Call(
            place=Place("api/app.py", number),
            function="",
            library="httpx",
            kind=Kind.HTTP,
            operation=operation,
            target=Target(service=whom),
            path=f"/{whom}",
            writes=operation != "GET",
            text=line.strip(),
        )
        for number, line in enumerate(source.split("\n"), 1)
        for wanted, operation, whom in asks
        if wanted in line
    )
    files = {path: each.structure for path, each in facts({"api/app.py": source}).items()}
    return Workflows(files, Names(files, Modules(files)), calls).find()


def left(text: str, asks: Iterable[tuple[str, str, str]] = ()) -> list[str]:
    """What stays undone in one file, as `what` and the function."""
    return [f"{change.what} in {each.function}" for each in workflows(text, asks) for change in each.missing]
