"""What signals and spans come to in words and numbers: breakers and their edges, titles of traces, charts of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from consoleworld import heard

from skerry.console import Sources
from skerry.console.heard import Record, Span
from skerry.console.picture import Picture
from skerry.console.series import PARTS, Series
from skerry.testing import VirtualClock
from skerry.topology import ServiceSpec, System


def breaker(clock: VirtualClock, policy: str, before: str, after: str, *, service: str = "order") -> Record:
    fields = {"policy": policy, "before": before, "after": after, "reason": "x"}
    return Record(service, clock.now(), "skerry.breaker_changed", "warning", "", fields)


def test_a_breaker_that_tries_and_fails_has_been_open_all_the_time() -> None:
    """Since when it is open is when it first opened, and its attempts to close are no news; that it closed is."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    opened = clock.now()
    for before, after in (("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("open", "half_open")):
        picture.add_records([breaker(clock, "payment", before, after)])
        clock.advance(1.0)
    [fact] = picture.told.breakers.values()
    assert (fact.state, fact.since) == ("half_open", opened)
    assert [change.text for change in picture.told.changes()] == ["breaker payment closed -> open: x"]
    picture.add_records([breaker(clock, "payment", "half_open", "closed")])
    [fact] = picture.told.breakers.values()
    assert (fact.state, fact.since) == ("closed", clock.now())
    assert len(picture.told.changes()) == 2


def test_an_edge_has_the_worst_of_the_breakers_towards_a_service() -> None:
    """A gateway has one for each route, called by the route and the service."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    states = {"/a -> order": "half_open", "/b -> order": "open", "/c -> order": "closed"}
    for policy, after in states.items():
        picture.add_records([breaker(clock, policy, "closed", after, service="gateway")])
    picture.add_spans([heard("t", "g", "gateway"), heard("t", "o", "order", parent="g")])
    [edge] = picture.view()["edges"]
    assert (edge["from"], edge["to"], edge["breaker"]) == ("gateway", "order", "open")


def titled(name: str, **attributes: Any) -> object:
    picture = Picture(Sources(), clock=VirtualClock())
    named = {key.replace("_", "."): value for key, value in attributes.items()}
    picture.add_spans([Span("t", "a", "", "gateway", name, "server", 1.0, 0.1, False, named)])
    return picture.window.traces()[0]["name"]


def test_a_trace_that_is_called_by_its_method_has_its_path_too() -> None:
    """As OpenTelemetry names a request whose route is not known; any other name stays as it is."""
    assert titled("GET", url_path="/api/orders") == "GET /api/orders"
    assert titled("POST", url_path="/api/orders/7", http_route="/api/orders/{id}") == "POST /api/orders/{id}"
    assert titled("GET /orders", url_path="/orders/7") == "GET /orders"
    assert titled("charge", url_path="/orders/7") == "charge"
    assert titled("GET") == "GET"


def test_a_chart_has_requests_errors_and_p95_of_each_quarter_of_a_minute() -> None:
    """The newest at the end; where nothing came there is no share and no time, and no requests."""
    clock = VirtualClock()
    series = Series(clock.now())
    for number in range(150):
        series.add(clock.now(), seconds=0.01, error=number < 30)
    clock.advance(30.0)
    now = clock.now()
    traffic, slow = series.traffic(now, since=now - 60.0), series.slowness(now)
    assert (len(traffic), len(slow)) == (PARTS, PARTS)
    assert traffic[-5:] == [0.0, 0.0, 10.0, 0.0, 0.0]
    assert set(traffic[:-5]) == {None}
    assert 0.01 <= (slow[-3] or 0.0) <= 0.015
    assert (slow[-1], series.history(now)[-3]) == (None, 0.2)


def test_a_service_tells_its_charts() -> None:
    """They belong together: as many parts, and how long each is."""
    picture = Picture(Sources(), clock=VirtualClock())
    picture.add_spans([heard("t", "o", "order")])
    order = picture.service("order")
    assert order is not None
    assert {len(order[name]) for name in ("history", "traffic", "slowness")} == {PARTS}
    assert order["step"] * PARTS == 900.0


def test_nothing_is_drawn_of_a_time_in_which_nobody_counted() -> None:
    """Requests are none, not zero, before the console ran, before a service was there, and of who was never heard of."""
    clock = VirtualClock()
    system = System(
        name="shop", file=Path("/skerry.toml"), services={"later": ServiceSpec(name="later", app="later:app")}
    )
    picture = Picture(Sources(topology=system), clock=clock)

    def requests(name: str) -> list[float | None]:
        found = picture.service(name)
        assert found is not None
        traffic: list[float | None] = found["traffic"]
        return traffic

    picture.states.take([process("ready", clock.now() - 3600.0)])
    clock.advance(30.0)
    picture.add_spans([heard("t", "s", "stranger")] * 3)
    unknown: list[float | None] = [None] * PARTS
    assert requests("order") == [*unknown[3:], 0.0, 0.0, 0.0]
    assert requests("stranger") == [*unknown[1:], 0.2]
    assert requests("later") == unknown
    clock.advance(900.0)
    assert requests("order") == [0.0] * PARTS


def process(state: str, since: float, restarts: int = 0) -> dict[str, Any]:
    return {"name": "order", "state": state, "since": since, "restarts": restarts}


def itself(at: float, state: str) -> Record:
    return Record("order", at, "skerry.service_changed", "info", "", {"state": state})


@pytest.mark.parametrize("first", ["the supervisor", "the service"])
def test_a_start_is_told_once(first: str) -> None:
    """The service tells of it, and its supervisor sees it: one line, whoever is earlier; and each start has its own."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    begun = clock.now()
    for start in range(3):
        at = begun + start * 4.0
        picture.states.take([process("starting", at, start)])
        clock.advance(2.0)
        tells = [itself(at, "starting"), itself(at + 1.0, "ready")]
        if first == "the service":
            picture.add_records(tells)
        picture.states.take([process("ready", at + 1.1, start)])
        if first == "the supervisor":
            picture.add_records(tells)
        clock.advance(1.0)
        picture.states.take([process("crashed", at + 3.0, start)])
        clock.advance(1.0)
    fell = "ready -> down"
    assert [change.text for change in picture.told.changes()] == [fell, "starting -> ready"] * 3


def test_a_fall_is_told_where_its_end_was_not_seen() -> None:
    """A process that is starting again by the time that it is looked at has fallen, and that stands in the feed at once."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    for state in ("ready", "starting", "crashed", "starting", "ready"):
        picture.states.take([process(state, clock.now(), 1)])
        clock.advance(1.0)
    told = [change.text for change in picture.told.changes()]
    assert told == ["starting -> ready", "starting -> down", "ready -> starting"]


def test_a_start_right_after_another_is_told_where_nobody_looked_in_between() -> None:
    """One that was held back and let go at once is ready, as before, but since later: a line of its own, and one only."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    picture.states.take([process("starting", clock.now())])
    for _ in range(2):
        clock.advance(1.0)
        begun = clock.now()
        picture.add_records([itself(begun, "ready")])
        for _ in range(3):
            clock.advance(0.5)
            picture.states.take([process("ready", begun)])
    assert [change.text for change in picture.told.changes()] == ["was restarted", "starting -> ready"]


def test_a_start_that_nobody_else_has_seen_is_told_by_the_service() -> None:
    """Where the supervisor was asked when all was over the service's own word stands, and a count of restarts without it."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    picture.add_records([itself(clock.now(), "starting"), itself(clock.now(), "ready")])
    picture.states.take([process("ready", clock.now())])
    assert [change.text for change in picture.told.changes()] == ["is ready"]
    clock.advance(10.0)
    picture.states.take([process("ready", clock.now(), 1)])
    picture.add_records([itself(clock.now(), "ready")])
    assert [change.text for change in picture.told.changes()] == ["was restarted", "is ready"]
