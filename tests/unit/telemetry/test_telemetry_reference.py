"""What the reference lists is what there is: metrics with units and attributes, spans with theirs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import skerry
from skerry.client import AsgiTransport, ServiceClient
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import HUB
from skerry.telemetry.gauges import GAUGES
from skerry.telemetry.measures import MEASURES
from skerry.telemetry.spans import SpanEnded

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


WHERE = (
    "client/telling.py",
    "client/grpc/telling.py",
    "events/telling.py",
    "gateway/engine/told.py",
    "gateway/engine/worker.py",
    "saga/run.py",
    "service/border.py",
    "service/grpc/border.py",
    "telemetry/conventions.py",
)
"""Whoever tells of spans."""
NAME = re.compile(r'"((?:http|url|rpc|messaging|saga|server|service|skerry)\.[a-z_.]+|previous-rpc-attempts)"')

OTHERS = {
    "http.request",
    "http.response.start",
    "http.response.body",
    *(f"skerry.{logger}" for logger in ("gateway", "saga", "service")),
}
"""ASGI's words for messages, and names of loggers."""


def test_the_attributes_of_spans_are_those_of_the_page() -> None:
    """Every name that is written where spans are told of stands in the table, and every one in the table is written there."""
    source = Path(skerry.__file__).parent
    texts = [(source / name).read_text() for name in WHERE]
    written = {name for text in texts for name in NAME.findall(text)}
    listed = {name for row in table("span") for name in named(row[3])}
    assert written - OTHERS == listed


def test_the_spans_of_a_call_have_the_attributes_of_their_rows(tmp_path: Path) -> None:
    """A call and the request that it makes: what is told is what the page says of each."""
    heard: list[SpanEnded] = []
    end = HUB.subscribe(lambda told: heard.append(told) if isinstance(told, SpanEnded) else None, spans=True)

    async def main() -> None:
        service = Service("order", settings=Settings(data=tmp_path))
        async with ServiceClient("order", url="http://order", transport=AsgiTransport(service.app)) as client:
            await client.request("BREW", "/coffee?sugar=2")

    asyncio.run(main())
    end()
    rows = {row[0]: (row[1], set(named(row[3]))) for row in table("span")}
    server, client = heard
    for span, row in (
        (server, rows["a request that a service answers"]),
        (client, rows["an attempt of a call with `ServiceClient`"]),
    ):
        assert span.kind == row[0]
        assert set(span.attributes) <= row[1]
    assert (client.attributes["url.full"], client.attributes["http.request.method"]) == (
        "http://order/coffee",
        "_OTHER",
    )
    assert client.attributes["http.request.method_original"] == "BREW"
