"""Where nobody watches, a line now and then says how far reading is; something quick says nothing."""

from __future__ import annotations

from skerry.cli.reading import EVERY, Lines


def test_a_line_every_few_seconds() -> None:
    """The first one after the first few seconds, then no more than one in each."""
    said: list[str] = []
    now = [100.0]
    lines = Lines(said.append, now=lambda: now[0])
    for done in range(20):
        lines.step("reading code", done, 2_000)
        now[0] += EVERY / 4
    assert said == [f"reading code: {done} of 2,000" for done in (4, 8, 12, 16)]


def test_what_nobody_can_count_has_no_numbers() -> None:
    """A total of 0 means that it is not known."""
    said: list[str] = []
    now = [0.0]
    lines = Lines(said.append, now=lambda: now[0])
    now[0] = EVERY
    lines.step("building the model", 0, 0)
    assert said == ["building the model"]
