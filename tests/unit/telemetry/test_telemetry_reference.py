"""What the reference lists is what there is: metrics with units and attributes, spans with theirs."""

from __future__ import annotations

import re
from pathlib import Path

from skerry.telemetry.gauges import GAUGES
from skerry.telemetry.measures import MEASURES

PAGE = Path(__file__).parents[3] / "docs/reference/telemetry.md"
END = {"counter": "_total", "gauge": "", "histogram": ""}


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first heading is this."""
    [found] = re.findall(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def named(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def test_the_metrics_of_the_page_are_those_that_there_are() -> None:
    """Name, kind, unit, attributes and the name in Prometheus of each, and no other."""
    listed = {
        (*named(name), kind, unit, named(attributes), *named(there))
        for name, kind, unit, attributes, there in table("metric")
    }
    made = {
        (each.name, each.kind, each.unit, each.attributes, each.prometheus + END[each.kind]) for each in MEASURES
    } | {(gauge.name, "gauge", gauge.unit, ("skerry.policy",), gauge.prometheus) for gauge in GAUGES}
    assert listed == made


def test_what_prometheus_does_without_is_said() -> None:
    """Each attribute that has no label is named below the table."""
    hidden = {name for each in MEASURES for name in each.only_here}
    [said] = re.findall(r"In Prometheus a label is.*?are left out", PAGE.read_text(), re.DOTALL)
    assert hidden <= set(named(said))
