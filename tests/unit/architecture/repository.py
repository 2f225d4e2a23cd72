"""A repository in memory, for what reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.architecture.build import build
from skerry.architecture.code.extract import extract
from skerry.architecture.code.facts import Code
from skerry.architecture.code.resolve import resolve
from skerry.architecture.model import SystemModel
from skerry.architecture.rules import Subject
from skerry.architecture.source import History, Skipped
from skerry.architecture.traces.spans import Traces


@dataclass(frozen=True)
class Memory:
    texts: Mapping[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        return {path: len(text) for path, text in sorted(self.texts.items())}

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return ()

    def read(self, path: str) -> bytes:
        return self.texts[path].encode()


def code_of(files: Memory) -> Code:
    return resolve({path: extract(path, files.read(path)) for path in files.sizes if path.endswith(".py")})


def model_of(texts: Mapping[str, str]) -> SystemModel:
    files = Memory(texts)
    return build(files, code_of(files))


def subject_of(
    texts: Mapping[str, str], *, history: History | None = None, traces: Traces | None = None, part: str = ""
) -> Subject:
    """What a rule is given of a repository with these files."""
    files = Memory(texts)
    code = code_of(files)
    return Subject(files=files, code=code, model=build(files, code, traces), history=history, traces=traces, part=part)
