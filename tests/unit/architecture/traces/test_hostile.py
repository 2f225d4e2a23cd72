"""Traces that nobody meant well: nothing raises, and nothing takes long."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory
from stories import PLANTED
from writing import FORMATS, Story, Told

from skerry.architecture.build import build
from skerry.architecture.code.facts import Code
from skerry.architecture.joining.observed import MAX_SERVICES
from skerry.architecture.rules import RULES, Finding, Subject
from skerry.architecture.traces import read


def judged(text: str | bytes, folder: Path) -> tuple[Subject, list[Finding]]:
    file = folder / "given"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    files, code, traces = Memory({}), Code(), read([file])
    subject = Subject(files=files, code=code, model=build(files, code, traces), traces=traces)
    return subject, [each for rule in RULES for each in rule.check(subject)]


def deep(story: Story) -> None:
    at: Told | None = None
    for number in range(2_000):
        at = story.span(f"s{number}", "x", below=at)


def wide(story: Story) -> None:
    root = story.span("root", "x")
    for number in range(2_000):
        story.call(root, f"s{number}", f"GET /{number}")


def circle(story: Story) -> None:
    first = story.span("a", "x")
    last = story.call(first, "b")
    first.parent = last.span
    alone = story.span("c", "x", below=last)
    alone.parent = alone.span


@pytest.mark.parametrize("tell", [deep, wide, circle])
@pytest.mark.parametrize("form", ["otlp", "jaeger", "zipkin-shared"])
def test_odd_shapes_are_judged_like_others(tell: object, form: str, tmp_path: Path) -> None:
    """A chain of thousands, thousands beside each other, parents in a circle; services are bounded."""
    assert callable(tell)
    story = Story()
    tell(story)
    subject, findings = judged(FORMATS[form](story.spans), tmp_path)
    assert subject.traces is not None
    assert len(subject.traces.traces) == 1
    assert len(subject.model.services) <= MAX_SERVICES
    assert findings


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_are_read_as_far_as_they_go(form: str, tmp_path: Path) -> None:
    """Bytes that are changed, taken out or doubled; what is left is judged."""
    random = Random(form)
    for name in sorted(PLANTED)[:8]:
        story = Story(seed=7)
        PLANTED[name][2](story)
        whole = FORMATS[form](story.spans[:40]).encode()
        for _ in range(8):
            text = bytearray(whole)
            for _ in range(random.randint(1, 6)):
                at = random.randrange(len(text))
                text[at : at + random.choice((0, 1, 1, 40))] = random.choice(
                    (b"", b"\x00", b"[", b'"', b"9" * 30, b"null", b"{}", b"\xff")
                )
            judged(bytes(text), tmp_path)
