"""The board asks for every metric that there is, for none that there is not, and is what Grafana's schema takes."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from skerry.cli.export import export as command
from skerry.deploy.export import grafana
from skerry.signals import Hub
from skerry.telemetry import PrometheusMetrics
from skerry.telemetry.gauges import GAUGES
from skerry.telemetry.measures import MEASURES

SCHEMA = json.loads(Path(__file__).with_name("published").joinpath("dashboard.json").read_text())


def _expressions() -> list[str]:
    return [target["expr"] for panel in grafana.board()["panels"] for target in panel.get("targets", ())]


def test_the_board_is_what_its_schema_takes() -> None:
    """By the schema that Grafana publishes for dashboards."""
    jsonschema.validate(grafana.board(), SCHEMA)


def test_the_schema_would_find_a_wrong_word() -> None:
    """A check that takes everything would prove nothing."""
    board = grafana.board()
    board["panels"][1]["gridPos"]["hight"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(board, SCHEMA)


def test_it_asks_for_every_metric_and_no_other() -> None:
    """By the names and labels that the page for Prometheus has."""
    metrics = PrometheusMetrics(hub=Hub())
    families = {line.split()[2] for line in metrics.page().decode().splitlines() if line.startswith("# TYPE ")}
    metrics.close()
    known = {name for family in families for name in (family, f"{family}_count", f"{family}_bucket")}
    asked = {name for each in _expressions() for name in re.findall(r"\b(?:skerry|http|rpc|messaging)_\w+(?=\{)", each)}
    assert asked <= known
    assert families - {re.sub(r"_(count|bucket)$", "", name) for name in asked} == set()


def test_labels_are_those_of_the_metric() -> None:
    """A label that a metric does not have would put everything into one line."""
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_count", "_bucket")}
    labels = {f"{each.prometheus}{end}": (*each.labels, "le") for each in MEASURES for end in ends[each.kind]}
    labels |= {gauge.prometheus: ("policy",) for gauge in GAUGES}
    for expression in _expressions():
        for by, metric in re.findall(r"by \(([\w, ]+)\) \((?:rate\()?(\w+)\{", expression):
            assert set(by.split(", ")) - {"job"} <= set(labels[metric]), expression


def test_panels_do_not_cover_each_other() -> None:
    """Each has its place, and a number of its own."""
    panels = grafana.board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        assert not _overlap(one, other)
    assert all(0 <= panel["gridPos"]["x"] <= 24 - panel["gridPos"]["w"] for panel in panels)


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_the_command_writes_it(tmp_path: Path) -> None:
    """A board to import, and what has Grafana load it from a folder."""
    done = CliRunner().invoke(command, ["grafana", "--out", str(tmp_path), "-o", "json"], catch_exceptions=False)
    assert json.loads(done.output)["secrets"] == []
    assert json.loads((tmp_path / "dashboards/skerry.json").read_text()) == grafana.board()
    assert json.loads((tmp_path / "provisioning/dashboards/skerry.json").read_text())["apiVersion"] == 1
