"""Numbers for Prometheus."""

import asyncio
import dataclasses

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skerry import signals
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import Hub
from skerry.telemetry import PrometheusMetrics
from skerry.telemetry.metrics import MEASURES


def rows(page):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_signals_move_counters_gauges_and_histograms():
    """A counter grows by what a signal counts, a gauge takes its value, a duration falls into a histogram."""
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    for count in (3, 4):
        hub.emit(signals.EventsRelayed(service="order", count=count))
        hub.emit(signals.LimitChanged(policy="stock", before=9, after=count))
    hub.emit(signals.RequestServed(service="order", method="POST", route="/orders", status=201, seconds=0.03))
    found = rows(metrics.page())
    assert found["skerry_events_relayed_total", ("service", "order")] == 7
    assert found["skerry_limit", ("policy", "stock")] == 4
    request = (("http_request_method", "POST"), ("http_response_status_code", "201"), ("http_route", "/orders"))
    assert found["http_server_request_duration_seconds_count", *request] == 1
    edges = {
        dict(key[1:])["le"]: value
        for key, value in found.items()
        if key[0] == "http_server_request_duration_seconds_bucket"
    }
    assert [edges["0.025"], edges["0.05"]] == [0, 1]


def test_after_close_nothing_is_counted():
    """A page that is closed stays as it is."""
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    metrics.close()
    hub.emit(signals.EventsRelayed(service="order", count=1))
    assert not any(name.startswith("skerry_events_relayed") for name, *_ in rows(metrics.page()))


@pytest.mark.parametrize("signal", MEASURES, ids=lambda signal: signal.__name__)
def test_labels_and_amounts_are_fields_of_their_signal(signal):
    """A measure that names a field its signal has not would fail at the first signal, in silence."""
    fields = {field.name for field in dataclasses.fields(signal)}
    measure = MEASURES[signal]
    named = (
        {measure.amount or "seconds"} if signal is signals.RequestServed else {*measure.labels, measure.amount} - {""}
    )
    assert named <= fields


def test_no_label_is_a_key_or_an_id():
    """What a stranger can choose, or what is new with every event, would make rows without end."""
    assert not {"key", "id", "error", "place", "reason_text"} & {
        name for each in MEASURES.values() for name in each.labels
    }
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    for number in range(100):
        told = signals.RequestServed(service="order", method=f"X{number}", route="", status=404, seconds=0.1)
        hub.emit(told)
    methods = {dict(key[1:]).get("http_request_method") for key in rows(metrics.page())}
    assert methods - {None} == {"_OTHER"}


@pytest.mark.parametrize("wanted", ["prometheus", ""])
def test_a_service_shows_its_numbers_where_that_is_asked_for(wanted, tmp_path):
    """`/metrics` is the application's own path unless the environment says otherwise."""

    async def main():
        service = Service("order", settings=Settings(data=tmp_path, metrics=wanted))
        sent = []

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/other", "headers": []}
        await service.app(scope, receive, send)
        sent.clear()
        await service.app({**scope, "path": "/metrics"}, receive, send)
        return sent[0]["status"], sent[-1]["body"]

    status, body = asyncio.run(main())
    if wanted:
        key = (("http_request_method", "GET"), ("http_response_status_code", "404"), ("http_route", ""))
        assert (status, rows(body)["http_server_request_duration_seconds_count", *key]) == (200, 1)
    else:
        assert status == 404
