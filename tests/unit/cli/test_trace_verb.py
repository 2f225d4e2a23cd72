"""A trace is drawn as a tree in time, whatever was sent."""

from __future__ import annotations

from typing import Any

from skerry.cli.trace import BAR, waterfall


def _span(name: str, parent: str | None, at: float, seconds: float, error: str = "") -> dict[str, Any]:
    return {
        "id": name,
        "parent": parent,
        "service": "order",
        "name": name,
        "at": at,
        "seconds": seconds,
        "error": error,
    }


def test_steps_stand_below_the_one_they_belong_to() -> None:
    """By time among each other, further in, each with its place in the whole, its time, and what went wrong."""
    spans = [
        _span("pay", "all", 100.5, 0.5, "time-out"),
        _span("all", None, 100.0, 1.0),
        _span("reserve", "all", 100.0, 0.25),
        _span("query", "reserve", 100.125, 0.125),
    ]
    bars, texts = zip(*((line[1 : BAR + 1], line[BAR + 3 :]) for line in waterfall(spans)), strict=True)
    assert texts == (
        "order: all  1,000.0 ms",
        "  order: reserve  250.0 ms",
        "    order: query  125.0 ms",
        "  order: pay  500.0 ms  FAILED: time-out",
    )
    assert bars[0] == "=" * BAR
    assert bars[2] == " " * (BAR // 8) + "=" * (BAR // 8) + " " * (BAR - BAR // 4)
    assert bars[3] == " " * (BAR // 2) + "x" * (BAR // 2)


def test_what_belongs_to_nobody_begins_anew() -> None:
    """Its parent may have been sent elsewhere, or is itself, or two belong to each other: each comes once."""
    spans = [_span("a", "gone", 1, 1), _span("b", "b", 2, 1), _span("c", "d", 3, 1), _span("d", "c", 4, 1)]
    assert sorted(line.split(": ")[1][0] for line in waterfall(spans)) == ["a", "b", "c", "d"]


def test_names_cannot_command_a_terminal() -> None:
    """They came from elsewhere."""
    (line,) = waterfall([_span("\x1b[2J\nx", None, 1, 0)])
    assert "\x1b" not in line
    assert "\n" not in line


def test_an_empty_trace_is_nothing() -> None:
    """And no error."""
    assert waterfall([]) == []
