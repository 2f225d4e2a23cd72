"""The shop's traces, as `skerry run --traces` writes them down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from running import Shop


def spans(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text().splitlines():
        [resource] = json.loads(line)["resourceSpans"]
        [name] = [each["value"]["stringValue"] for each in resource["resource"]["attributes"]]
        found += [{**span, "service": name} for scope in resource["scopeSpans"] for span in scope["spans"]]
    return found


def test_an_order_is_one_trace_through_every_service(tmp_path: Path) -> None:
    """From the gateway over the saga and its steps to the services they call, each span below what led to it."""
    path = tmp_path / "traces.jsonl"
    shop = Shop(tmp_path / "data", "--traces", str(path))
    try:
        ended = shop.ended(shop.order().json()["order_id"])
    finally:
        code = shop.close()
    assert (ended["order"]["status"], code) == ("confirmed", 0)
    written = spans(path)
    [saga] = [span for span in written if span["name"] == "fulfilment"]
    trace = [span for span in written if span["traceId"] == saga["traceId"]]
    by_id = {span["spanId"]: span for span in trace}
    served = {span["service"] for span in trace if span["kind"] == 2}
    assert served >= {"gateway", "order", "inventory", "payment", "shipping"}
    steps = [span for span in trace if span["name"].startswith("fulfilment ")]
    assert {span["name"].split()[1] for span in steps} == {"accept", "reserve", "charge", "ship", "confirm"}
    assert {span["parentSpanId"] for span in steps} == {saga["spanId"]}
    charged = next(span for span in trace if span["service"] == "payment" and span["kind"] == 2)
    call = by_id[charged["parentSpanId"]]
    assert (call["service"], call["kind"], by_id[call["parentSpanId"]]["name"]) == (
        "order",
        3,
        "fulfilment charge",
    )
    reserved = next(span for span in trace if span["service"] == "inventory" and span["kind"] == 2)
    sent = by_id[reserved["parentSpanId"]]  # over gRPC
    assert (sent["service"], sent["kind"], by_id[sent["parentSpanId"]]["name"]) == (
        "order",
        3,
        "fulfilment reserve",
    )
    heard = [span for span in written if span["kind"] == 5]
    assert {span["service"] for span in heard} >= {"notification", "analytics"}
