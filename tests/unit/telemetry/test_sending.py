"""What is sent to a console or collector, and what becomes of it when that is away, slow or refuses."""

from __future__ import annotations

import os
import queue
import socket
import warnings
from collections.abc import Iterator

import pytest
from otlpreceiver import BOUND, logged, receiving

from skerry.context import CallContext
from skerry.errors import ConfigurationError
from skerry.settings import Settings
from skerry.signals import HUB, BreakerChanged, CallRefused, ExportChanged, Hub, RequestServed, Signal
from skerry.telemetry import send_telemetry, telling
from skerry.telemetry.otlp import QUEUED
from skerry.telemetry.spans import span

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def changes(hub: Hub) -> Iterator[queue.Queue[ExportChanged]]:
    heard: queue.Queue[ExportChanged] = queue.Queue()

    def listen(signal: Signal) -> None:
        if isinstance(signal, ExportChanged):
            heard.put(signal)

    stop = hub.subscribe(listen)
    yield heard
    stop()


def refused(number: int) -> CallRefused:
    return CallRefused(policy=f"p{number}", reason="circuit_open")


def test_a_signal_arrives_as_a_record_with_its_fields_and_the_token(hub: Hub) -> None:
    """`event.name` is the class in snake case, fields are attributes, and the service is the resource."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order", token="t0ken", hub=hub)
        hub.emit(BreakerChanged(policy="payment", before="closed", after="open", reason="5 of 5 failed"))
        path, headers, body = receiver.next()
        end()
    assert (path, headers["authorization"], headers["content-type"]) == ("/v1/logs", "Bearer t0ken", "application/json")
    [resource] = body["resourceLogs"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "order"}}]
    [record] = logged(body)
    assert record["event.name"] == "skerry.breaker_changed"
    assert (record["policy"], record["before"], record["after"]) == ("payment", "closed", "open")


def test_a_span_arrives_as_a_span() -> None:
    """With the ids of its trace and its parent, at the path for traces."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order")
        with span("work", "internal", CallContext(traceparent=PARENT)):
            pass
        path, headers, body = receiver.next()
        end()
    assert path == "/v1/traces"
    assert "authorization" not in headers
    [sent] = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (sent["name"], sent["traceId"], sent["parentSpanId"]) == ("work", "a" * 32, "b" * 16)
    assert not HUB.traced


def test_what_a_span_tells_is_not_told_twice(hub: Hub) -> None:
    """A request served is left out of the records."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(RequestServed(service="order", method="GET", route="/", status=200, seconds=0.1))
        hub.emit(refused(1))
        [record] = logged(receiver.next()[2])
        end()
    assert record["policy"] == "p1"


def test_what_was_told_before_the_end_is_sent_at_the_end(hub: Hub) -> None:
    """The end sends what still waits for company."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(refused(1))
        end()
        hub.emit(refused(2))
        assert [record["policy"] for record in logged(receiver.next()[2])] == ["p1"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_refusal_for_the_moment_is_tried_again(hub: Hub, changes: queue.Queue[ExportChanged], status: int) -> None:
    """The same records come again, nothing is dropped, and both changes are told."""
    with receiving(status) as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(refused(1))
        first, second = receiver.next()[2], receiver.next()[2]
        end()
    assert first == second
    told = [changes.get(timeout=BOUND), changes.get(timeout=BOUND)]
    assert [(one.failing, one.dropped) for one in told] == [(True, 0), (False, 0)]
    assert told[0].error == f"it answers {status}"


def test_a_refusal_for_good_is_not_tried_again(hub: Hub, changes: queue.Queue[ExportChanged]) -> None:
    """What was refused is counted as dropped; what comes after it is sent."""
    with receiving(401) as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(refused(1))
        assert logged(receiver.next()[2])[0]["policy"] == "p1"
        assert changes.get(timeout=BOUND).failing
        hub.emit(refused(2))
        later = [record.get("policy") for record in logged(receiver.next()[2])]
        end()
    assert "p1" not in later
    back = changes.get(timeout=BOUND)
    assert (back.failing, back.dropped) == (False, 1)


def test_a_receiver_that_hangs_holds_up_neither_caller_nor_end(hub: Hub) -> None:
    """Telling goes on, more than the queue holds, and the end comes, while no answer does."""
    with receiving(0, 0, 0) as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(refused(0))
        receiver.next()
        for number in range(QUEUED + 10):
            hub.emit(refused(number))
        end()
        assert not receiver.let_go.is_set()


def test_a_receiver_that_comes_back_gets_the_last_of_what_waited(hub: Hub, changes: queue.Queue[ExportChanged]) -> None:
    """While nobody listens the oldest go and are counted; the newest arrive once somebody does."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    end = send_telemetry(f"http://127.0.0.1:{port}", service="order", hub=hub)
    hub.emit(refused(0))
    assert changes.get(timeout=BOUND).failing
    for number in range(1, QUEUED + 101):
        hub.emit(refused(number))
    with receiving(port=port) as receiver:
        back = changes.get(timeout=BOUND)
        last = ""
        while last != f"p{QUEUED + 100}":
            last = next((one["policy"] for one in reversed(logged(receiver.next()[2])) if "policy" in one), last)
        end()
    assert not back.failing
    assert back.dropped >= 100


def test_a_forked_process_sends_its_own_and_nothing_of_its_parents(hub: Hub) -> None:
    """A fork takes no thread along: the child begins one as soon as it tells of something."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(refused(1))
        assert [record["policy"] for record in logged(receiver.next()[2])] == ["p1"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: there are threads, which is the point
            child = os.fork()
        if child == 0:
            try:
                hub.emit(refused(2))
                end()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert [record["policy"] for record in logged(receiver.next()[2])] == ["p2"]
        end()


def test_what_cannot_be_encoded_as_it_is_does_not_end_the_sending(hub: Hub) -> None:
    """Half a character and a number that is none arrive as texts that every receiver reads."""
    with receiving() as receiver:
        end = send_telemetry(receiver.url, service="order", hub=hub)
        hub.emit(CallRefused(policy="half \ud800", reason="https://user:secret@host/"))
        [record] = logged(receiver.next()[2])
        end()
    assert record["policy"] == "half ?"
    assert "secret" not in record["reason"]


def test_nothing_listens_unless_settings_ask_for_it() -> None:
    """Without an address there is no thread and no span; with one there are, until the block ends."""
    with telling("order", Settings()):
        assert not HUB.traced
    with receiving() as receiver, telling("order", Settings(otlp=receiver.url)):
        assert HUB.traced
    assert not HUB.traced


def test_the_settings_name_a_wrong_address_and_do_not_repeat_it() -> None:
    """Whatever is wrong with address or token, nothing of it stands in the error or in what settings show."""
    for wrong in (
        "10.0.0.1:4318",
        "ftp://host",
        "http://me:secret@host",
        "http://host:port",
        "http:///x",
        "http://h?a=b",
    ):
        with pytest.raises(ConfigurationError, match="SKERRY_OTLP is no address") as caught:
            Settings.from_environ({"SKERRY_OTLP": wrong})
        assert wrong not in str(caught.value)
    with pytest.raises(ConfigurationError, match="SKERRY_OTLP_TOKEN is no token") as caught:
        Settings.from_environ({"SKERRY_OTLP_TOKEN": "sec ret"})
    assert "sec" not in str(caught.value)
    settings = Settings.from_environ({"SKERRY_OTLP": "http://h:1/", "SKERRY_OTLP_TOKEN": "secret"})
    assert (settings.otlp, settings.otlp_token) == ("http://h:1", "secret")
    assert "secret" not in repr(settings)
