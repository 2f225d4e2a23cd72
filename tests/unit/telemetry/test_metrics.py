"""Numbers for Prometheus."""

import asyncio
import dataclasses
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skerry import Bulkhead, signals
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import Hub
from skerry.telemetry import PrometheusMetrics
from skerry.telemetry.measures import MEASURES
from skerry.telemetry.metrics import TOGETHER


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
        hub.emit(signals.ConsumerLag(group="billing", lag=count))
    hub.emit(signals.RequestServed(service="order", method="POST", route="/orders", status=201, seconds=0.03))
    found = rows(metrics.page())
    assert found["skerry_events_relayed_total", ("service", "order")] == 7
    assert found["skerry_consumer_lag", ("group", "billing")] == 4
    request = (
        ("error_type", ""),
        ("http_request_method", "POST"),
        ("http_response_status_code", "201"),
        ("http_route", "/orders"),
    )
    assert found["http_server_request_duration_seconds_count", *request] == 1
    edges = {
        dict(key[1:])["le"]: value
        for key, value in found.items()
        if key[0] == "http_server_request_duration_seconds_bucket"
    }
    assert [edges["0.025"], edges["0.05"]] == [0, 1]


def test_durations_of_many_threads_are_all_in_their_buckets():
    """More than are put there at once, each on the right side of its edge, and all of them added up."""
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    taken = (0.005, 0.006, 0.1, 11.0)

    def serve():
        for number in range(TOGETHER):
            seconds = taken[number % len(taken)]
            hub.emit(signals.RequestServed(service="order", method="GET", route="/", status=200, seconds=seconds))

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    name = "http_server_request_duration_seconds"
    found = {key: value for key, value in rows(metrics.page()).items() if key[0].startswith(name)}
    edges = {dict(key[1:])["le"]: value for key, value in found.items() if key[0] == f"{name}_bucket"}
    assert [edges[edge] for edge in ("0.005", "0.01", "0.1", "10.0", "+Inf")] == [512, 1024, 1536, 1536, 2048]
    assert [value for key, value in found.items() if key[0] == f"{name}_count"] == [2048]
    assert [value for key, value in found.items() if key[0] == f"{name}_sum"] == [pytest.approx(512 * sum(taken))]


def test_limits_are_read_when_the_page_is_asked_for():
    """Calls under way, those that wait, and how many may run: of each limit that there is, by the policy's name."""
    metrics = PrometheusMetrics(hub=Hub())
    limit = Bulkhead(3, name="stock-of-this-test")
    with limit.slot():
        found = rows(metrics.page())
    names = ("skerry_calls_in_flight", "skerry_calls_waiting", "skerry_limit")
    assert [found[name, ("policy", "stock-of-this-test")] for name in names] == [1, 0, 3]
    assert rows(metrics.page())["skerry_calls_in_flight", ("policy", "stock-of-this-test")] == 0
    metrics.close()


def test_after_close_nothing_is_counted():
    """A page that is closed stays as it is."""
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    metrics.close()
    hub.emit(signals.EventsRelayed(service="order", count=1))
    assert not any(name.startswith("skerry_events_relayed") for name, *_ in rows(metrics.page()))


SAMPLE = {"str": "x", "int": 1, "float": 0.5, "bool": False}


def told(kind):
    """Any signal of this kind."""
    needed = [field for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    return kind(**{field.name: SAMPLE.get(str(field.type)) for field in needed})


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_measure_reads_what_its_signal_has(measure):
    """A measure that names a field its signal has not would fail at the first signal, in silence."""
    values = measure.of(told(measure.signal))
    assert len(values) == len(measure.attributes)
    assert measure.amount(told(measure.signal)) in {0.0, 0.5, 1.0}


def test_a_signal_moves_one_metric_and_a_name_is_there_once():
    """A second measure of a signal would take the place of the first."""
    assert len({measure.signal for measure in MEASURES}) == len(MEASURES)
    assert len({measure.prometheus for measure in MEASURES}) == len(MEASURES)


def test_calls_are_told_one_by_one_only_while_somebody_counts():
    """Numbers ask for the signals of single calls, and their end takes that back."""
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    assert hub.measured
    metrics.close()
    assert not hub.measured


def test_no_label_is_a_key_or_an_id():
    """What a stranger can choose, or what is new with every event, would make rows without end."""
    assert not {"key", "id", "error", "place", "reason_text"} & {name for each in MEASURES for name in each.labels}
    hub = Hub()
    metrics = PrometheusMetrics(hub=hub)
    for number in range(100):
        hub.emit(signals.RequestServed(service="order", method=f"X{number}", route="", status=404, seconds=0.1))
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
        await service.stop()  # else it goes on counting for the tests that follow
        return sent[0]["status"], sent[-1]["body"]

    status, body = asyncio.run(main())
    if wanted:
        key = (
            ("error_type", ""),
            ("http_request_method", "GET"),
            ("http_response_status_code", "404"),
            ("http_route", ""),
        )
        assert (status, rows(body)["http_server_request_duration_seconds_count", *key]) == (200, 1)
    else:
        assert status == 404
