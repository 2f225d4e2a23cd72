"""The window: what is counted, who calls whom, and that nothing grows without bound."""

from __future__ import annotations

import tracemalloc

from consoleworld import heard

from skerry.console.series import PER, SLOT, Series
from skerry.console.window import (
    LENGTH,
    MAX_BELOW,
    MAX_EDGES,
    MAX_SERVICES,
    MAX_SPANS,
    MAX_TRACE,
    MAX_TRACES,
    MAX_WAITING,
    PATIENCE,
    Window,
)
from skerry.testing import VirtualClock


def edges(window: Window, clock: VirtualClock) -> dict[tuple[str, str, str], float]:
    """Each edge and how many calls a second it has now."""
    return {key: series.now(clock.now())[0] for key, series in window.edges.items()}


def test_a_thousand_spans_a_second_for_a_minute_stay_within_bounds() -> None:
    """After some seconds it holds as much as it may, and no more after a minute."""
    clock = VirtualClock()
    window = Window(clock=clock)
    sizes, number = [], 0
    tracemalloc.start()
    memory = []
    try:
        for _ in range(60):
            for _ in range(10):
                batch = []
                for _ in range(50):
                    number += 1
                    trace = f"{number:032x}"
                    batch += [
                        heard(trace, "a", f"s{number % 7}", kind="client", peer_service=f"s{number % 5}"),
                        heard(trace, "b", f"s{number % 5}", parent="a", error=number % 10 == 0),
                    ]
                window.add(batch)
                clock.advance(0.1)
            sizes.append(window.size)
            memory.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert window.received == 60_000
    assert window.kept <= MAX_SPANS
    assert max(sizes) <= MAX_SPANS + MAX_TRACES + 2 * MAX_WAITING + 60 * 180
    assert max(memory[30:]) < memory[20] * 1.2


def test_strangers_names_have_bounds_too() -> None:
    """Whoever invents services, traces, calls and answers without end pushes out his own, or is not taken."""
    clock = VirtualClock()
    window = Window(clock=clock)
    for number in range(30_000):
        own = str(number)
        window.add([heard(own, "x", f"s{number}", kind="client", peer_service=f"t{number}", parent="p")])
        window.add([heard(own, "y", f"u{number}", parent="q"), heard(own, "z", "s", kind="client")])
    window.add([heard("one", str(number), "s") for number in range(3 * MAX_TRACE)])
    window.add([heard("two", str(number), "s", parent="same") for number in range(3 * MAX_BELOW)])
    assert len(window.services) == MAX_SERVICES
    assert len(window.edges) <= MAX_EDGES
    assert window.size < 2 * MAX_SPANS + MAX_TRACES + 2 * MAX_WAITING
    assert len(window.trace("one") or []) == MAX_TRACE
    assert window.dropped > 0


def test_spans_are_forgotten_after_a_quarter_of_an_hour() -> None:
    """What is older is no longer found, although nothing new pushes it out."""
    clock = VirtualClock()
    window = Window(clock=clock)
    window.add([heard("t", "a", "order")])
    clock.advance(LENGTH - 1)
    assert len(window.traces()) == 1
    clock.advance(2)
    assert window.traces() == []
    assert window.trace("t") is None


def test_a_call_leads_to_the_service_that_it_names() -> None:
    """`peer.service` decides, and the answer below the call is not counted as a second call."""
    for spans in (
        [heard("t", "a", "order", kind="client", peer_service="payment"), heard("t", "b", "payment", parent="a")],
        [heard("t", "b", "payment", parent="a"), heard("t", "a", "order", kind="client", peer_service="payment")],
    ):
        clock = VirtualClock()
        window = Window(clock=clock)
        for span in spans:
            window.add([span])
        assert edges(window, clock).keys() == {("order", "payment", "call")}
        assert window.edges["order", "payment", "call"].size == 2


def test_a_call_without_a_name_leads_to_who_answers_below_it() -> None:
    """In whatever order the two sides come."""
    for spans in (
        [heard("t", "a", "order", kind="client", server_address="10.0.0.7"), heard("t", "b", "payment", parent="a")],
        [heard("t", "b", "payment", parent="a"), heard("t", "a", "order", kind="client", server_address="10.0.0.7")],
    ):
        clock = VirtualClock()
        window = Window(clock=clock)
        for span in spans:
            window.add([span])
        assert edges(window, clock).keys() == {("order", "payment", "call")}


def test_a_call_that_nobody_answers_leads_to_the_address_it_names() -> None:
    """After some seconds; a database goes by its kind, and a bare local address by nothing."""
    clock = VirtualClock()
    window = Window(clock=clock)
    window.add(
        [
            heard("t", "a", "order", kind="client", server_address="api.bank.example", error=True),
            heard("t", "b", "order", kind="client", db_system="postgresql", server_address="10.0.0.7"),
            heard("t", "c", "order", kind="client", server_address="127.0.0.1"),
        ]
    )
    assert window.edges == {}
    clock.advance(PATIENCE)
    window.add([])
    assert edges(window, clock).keys() == {("order", "api.bank.example", "call"), ("order", "postgresql", "call")}


def test_a_gateway_that_makes_no_span_for_its_calls_has_edges_too() -> None:
    """A server span right below another service's server span is a call, whichever comes first."""
    for turned in (False, True):
        clock = VirtualClock()
        window = Window(clock=clock)
        spans = [heard("t", "a", "gateway"), heard("t", "b", "order", parent="a"), heard("t", "c", "stock", parent="a")]
        for span in reversed(spans) if turned else spans:
            window.add([span])
        assert edges(window, clock).keys() == {("gateway", "order", "call"), ("gateway", "stock", "call")}


def test_a_consumer_below_a_producer_is_an_event() -> None:
    """Events and calls between the same two are two edges."""
    clock = VirtualClock()
    window = Window(clock=clock)
    window.add([heard("t", "a", "order", kind="producer"), heard("t", "b", "shipping", kind="consumer", parent="a")])
    window.add([heard("u", "a", "order"), heard("u", "b", "shipping", kind="consumer", parent="a")])
    assert edges(window, clock).keys() == {("order", "shipping", "event")}


def test_every_group_below_a_producer_is_an_event_of_its_own() -> None:
    """Whoever comes first, the producer or those who handle what it made, and each once."""
    for turned in (False, True):
        clock = VirtualClock()
        window = Window(clock=clock)
        groups = [heard("t", own, own, kind="consumer", parent="a") for own in ("shipping", "mail", "stock")]
        spans = [heard("t", "a", "order", kind="producer", messaging_system="skerry"), *groups]
        for span in reversed(spans) if turned else spans:
            window.add([span])
        assert edges(window, clock).keys() == {("order", own, "event") for own in ("shipping", "mail", "stock")}
        latest = [series.traffic(clock.now(), since=0.0)[-1] or 0.0 for series in window.edges.values()]
        assert [round(each * PER * SLOT) for each in latest] == [1, 1, 1]


def test_an_event_that_nobody_handles_leads_nowhere() -> None:
    """The bus is no service."""
    clock = VirtualClock()
    window = Window(clock=clock)
    window.add([heard("t", "a", "order", kind="producer", messaging_system="skerry")])
    clock.advance(PATIENCE)
    window.add([])
    assert window.edges == {}


def test_traces_are_found_by_service_errors_and_length() -> None:
    """The newest first; each line has its first span's name, and how many of its spans failed."""
    window = Window(clock=VirtualClock())
    window.add([heard("fine", "a", "order")])
    window.add([heard("bad", "b", "payment", parent="a", error=True), heard("bad", "a", "order")])
    assert [line["id"] for line in window.traces()] == ["bad", "fine"]
    assert [line["id"] for line in window.traces(service="payment")] == ["bad"]
    assert [line["id"] for line in window.traces(limit=1)] == ["bad"]
    assert window.traces(slow=True) == []
    line = window.traces(errors=True)[0]
    assert (line["name"], line["service"], line["spans"], line["errors"]) == ("server a", "order", 2, 1)


def test_the_same_span_sent_twice_is_kept_once() -> None:
    """A sender that comes again after a lost answer makes no trace longer."""
    window = Window(clock=VirtualClock())
    window.add([heard("t", "a", "order")] * 3)
    assert window.kept == 1


def test_counts_say_how_it_is_now_and_how_it_was() -> None:
    """Rates are of the last seconds, a history of a quarter of an hour in quarters of a minute."""
    clock = VirtualClock()
    series = Series(clock.now())
    for _ in range(100):
        series.add(clock.now(), seconds=0.01, error=True)
    clock.advance(60)
    now = clock.now()
    assert series.now(now) == (0.0, 0.0)
    for each in range(100):
        series.add(now, seconds=0.1 if each < 94 else 3.0, error=each < 25)
    assert series.now(now)[1] == 0.25
    assert 3.0 <= (series.p95(now) or 0.0) <= 4.5
    history = series.history(now)
    assert len(history) == 60
    assert [share for share in history if share is not None] == [1.0, 0.25]
    clock.advance(900)
    assert set(series.history(clock.now())) == {None}


def test_a_clock_that_is_set_back_breaks_nothing() -> None:
    """What comes then is counted where the clock has been."""
    series = Series(1000.0)
    series.add(1000.0, seconds=0.1, error=False)
    series.add(10.0, seconds=0.1, error=True)
    assert series.now(1000.0)[1] == 0.5
