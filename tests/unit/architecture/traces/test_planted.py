"""Faults that are put into traces are found in every format, and nothing is found where there are none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory, code_of
from stories import CLEAN, PLANTED
from writing import FORMATS, Story, Told

from skerry.architecture.build import build
from skerry.architecture.rules import RULES, Finding, Subject, Verdict
from skerry.architecture.traces import read

APP = 'from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/a")\nasync def a():\n    return {}\n'


def found(spans: list[Told], form: str, folder: Path, *, code: bool = False) -> list[Finding]:
    """What all rules say against the system that the spans are of; with `code`, of its sources as well."""
    file = folder / "traces.json"
    file.write_text(FORMATS[form](spans))
    traces = read([file])
    assert not traces.skipped
    texts = {}
    if code:
        # a worker is built from the folder of the service that it works for; a tool is nobody's code
        names = sorted({each.service for each in spans} - {"metabase"})
        roots = {name: name.removesuffix("-worker") for name in names}
        texts = {f"{root}/app.py": APP for root in roots.values()}
        texts |= {f"{root}/Dockerfile": "FROM python:3.12\n" for root in roots.values()}
        texts["compose.yaml"] = "services:\n" + "".join(
            f"  {name}:\n    build: ./{root}\n" for name, root in roots.items()
        )
    files = Memory(texts)
    facts = code_of(files)
    subject = Subject(files=files, code=facts, model=build(files, facts, traces), traces=traces)
    verdicts = [each for rule in RULES for each in rule.check(subject)]
    assert all(each.message for each in verdicts)
    # the code is a stub, and it is true that such services are too small
    stub = {"premature-microservices"} if code else set[str]()
    return [each for each in verdicts if each.verdict in {Verdict.VIOLATION, Verdict.SUSPECT} and each.rule not in stub]


@pytest.mark.parametrize("code", [False, True], ids=["traces-alone", "with-code"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_and_nothing_else(name: str, form: str, code: bool, tmp_path: Path) -> None:
    """By its rule, with its severity, with a place in the file."""
    rule, severity, tell = PLANTED[name]
    story = Story(seed=len(name) + len(form))
    tell(story)
    findings = found(story.spans, form, tmp_path, code=code)
    assert [(each.rule, each.severity.value) for each in findings] == [(rule, severity)]
    assert all(one.place is not None for one in findings[0].evidence if one.source.value == "trace")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", CLEAN)
def test_clean_traces_have_no_findings(name: str, form: str, tmp_path: Path) -> None:
    """What only looks like a fault is none."""
    story = Story(seed=len(name) + len(form))
    CLEAN[name](story)
    assert found(story.spans, form, tmp_path) == []
    assert found(story.spans, form, tmp_path, code=True) == []
