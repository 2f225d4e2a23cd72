"""The first screen: what signals, spans, processes and databases come to, and when it is sent again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from consoleworld import ACT, BEARER, console, heard

from skerry.console import Sources
from skerry.console.heard import MAX_ATTRIBUTES, Record
from skerry.console.otlp import records
from skerry.console.picture import Picture
from skerry.console.stream import ALIVE, EVERY, MAX_STREAMS, Views
from skerry.console.told import MAX_BREAKERS, MAX_CHANGES
from skerry.errors import ConfigurationError, DeployError, StoreUnavailable
from skerry.store import Database
from skerry.testing import VirtualClock, run_virtual
from skerry.topology import System, load

SHOP = """
[system]
name = "shop"
events = "sqlite:///events"
[gateway]
spec = "gateway.yaml"
calls = ["order"]
[services.order]
app = "order:app"
database = "sqlite:///order.db"
calls = ["payment"]
publishes = ["placed"]
[services.payment]
app = "payment:app"
[services.shipping]
app = "shipping:app"
subscribes = ["placed"]
[topics.placed]
owner = "order"
"""


def shop(folder: Path) -> System:
    (folder / "gateway.yaml").write_text("routes: []\n")
    (folder / "skerry.toml").write_text(SHOP)
    return load(folder / "skerry.toml")


def told(service: str, event: str, *, level: str = "info", at: float = 1_750_000_000.0, **fields: Any) -> Record:
    return Record(service, at, f"skerry.{event}", level, "", fields)


def processes(**states: str) -> list[dict[str, Any]]:
    """What `skerry ps -o json` prints, the rest of them ready."""
    all_ = {"gateway": "ready", "order": "ready", "payment": "ready", "shipping": "ready", **states}
    return [{"name": name, "state": state, "ready": state == "ready", "restarts": 0} for name, state in all_.items()]


def test_the_map_has_what_was_declared_before_anything_has_come(tmp_path: Path) -> None:
    """Services, calls and events stand in the system's file; nothing is claimed of how they are."""
    view = Picture(Sources(topology=shop(tmp_path)), clock=VirtualClock()).view()
    assert [(one["name"], one["kind"], one["state"]) for one in view["services"]] == [
        ("gateway", "gateway", "unknown"),
        ("order", "service", "unknown"),
        ("payment", "service", "unknown"),
        ("shipping", "service", "unknown"),
    ]
    assert {(edge["from"], edge["to"], edge["kind"]) for edge in view["edges"]} == {
        ("gateway", "order", "call"),
        ("order", "payment", "call"),
        ("order", "shipping", "event"),
    }
    assert view["sentence"]["level"] == "warn"
    assert json.loads(json.dumps(view)) == view


def test_payment_is_killed_and_comes_back(tmp_path: Path) -> None:
    """The sentence names it and the damage, it stands first, its edge's breaker is open; afterwards it is quiet again."""
    clock = VirtualClock()
    picture = Picture(Sources(topology=shop(tmp_path)), clock=clock)
    picture.states.take(processes())
    clock.advance(60)
    picture.states.take(processes())
    assert picture.view()["sentence"]["text"] == "All 3 services are healthy for 1 min"
    picture.states.take(processes(payment="crashed"))
    for number in range(100):
        bad = number % 100 < 38
        picture.add_spans(
            [heard(f"{number}", "g", "gateway", error=bad), heard(f"{number}", "o", "order", parent="g", error=bad)]
        )
    opened = {"policy": "payment", "before": "closed", "after": "open", "reason": "failures"}
    picture.add_records([told("order", "breaker_changed", level="warning", **opened)])
    view = picture.view()
    sentence = view["sentence"]
    assert (sentence["subject"], sentence["level"], sentence["damage"]) == ("payment", "down", "38 % of requests fail")
    assert view["services"][0]["name"] == "payment"
    (edge,) = [edge for edge in view["edges"] if edge["to"] == "payment"]
    assert edge["breaker"] == "open"
    assert view["changes"][0]["text"] in {"ready -> down", "breaker payment closed -> open: failures"}
    clock.advance(60)
    picture.states.take(processes())
    closed = {"policy": "payment", "before": "half_open", "after": "closed", "reason": "probe"}
    picture.add_records([told("order", "breaker_changed", at=clock.now(), **closed)])
    assert picture.view()["sentence"]["text"] == "All 3 services are healthy for 0 s"


def test_a_process_that_was_restarted_between_two_looks_has_fallen(tmp_path: Path) -> None:
    """Its count of restarts tells; three falls within minutes and it comes and goes."""
    clock = VirtualClock()
    picture = Picture(Sources(topology=shop(tmp_path)), clock=clock)
    for restarts in range(4):
        each = processes()
        each[2]["restarts"] = restarts
        picture.states.take(each)
        clock.advance(10)
    assert picture.view()["sentence"]["subject"] == "payment"
    assert picture.told.changes()[0].text == "was restarted"
    clock.advance(600)
    assert picture.view()["sentence"]["level"] == "ok"


def test_signals_have_bounds_and_newest_come_first() -> None:
    """However many breakers and changes are told of, the last ones are kept."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    now = clock.now()
    for number in range(2000):
        changed = {"policy": f"p{number}", "before": "closed", "after": "open", "reason": "x"}
        picture.add_records([told(f"s{number}", "breaker_changed", at=now + number / 1000, **changed)])
        picture.add_records([told(f"s{number}", "consumer_lag", group=f"g{number}", lag=number)])
        picture.add_records([told(f"s{number}", "service_changed", state="ready"), told(f"s{number}", "retry_planned")])
    assert len(picture.told.breakers) == MAX_BREAKERS
    changes = picture.told.changes()
    assert len(changes) == MAX_CHANGES
    assert changes == sorted(changes, key=lambda change: -change.at)
    assert picture.told.size < 1000
    assert len(picture.view()["services"]) <= 300


def test_migrations_that_come_together_are_one_change() -> None:
    """A first start applies a dozen of each service: one line for each service, and a later one is a line of its own."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    for version in range(12):
        each = {"version": version, "component": "outbox"}
        picture.add_records([told("order", "migration_applied", at=clock.now(), **each)])
        picture.add_records([told("payment", "migration_applied", at=clock.now(), **each)])
        clock.advance(1)
    clock.advance(300)
    picture.add_records([told("order", "migration_applied", at=clock.now(), version=13, component="saga")])
    assert [(change.service, change.text) for change in picture.told.changes()] == [
        ("order", "migration 13 of saga applied"),
        ("order", "12 migrations applied"),
        ("payment", "12 migrations applied"),
    ]


def test_what_is_told_of_comes_in_words() -> None:
    """A line for what a person wants to know; what is counted or goes as it should has none."""
    picture = Picture(Sources(), clock=VirtualClock())
    picture.add_records(
        [
            told("order", "saga_changed", saga="checkout", key="o1", status="stuck", reason="no"),
            told("order", "saga_changed", saga="checkout", key="o2", status="completed"),
            told("order", "health_changed", check="database", before="pass", after="fail", reason="away"),
            told("order", "event_parked", type="placed", held=False, reason="boom"),
            told("order", "event_parked", type="placed", held=True, reason="behind"),
            told("order", "keys_unavailable", level="warning", provider="idp", reason="timeout"),
            told("order", "retry_planned", level="debug"),
            told(
                "order", "export_changed", level="warning", to="here", failing=True, dropped=0, error="BrokenPipeError"
            ),
            told("order", "export_changed", to="here", failing=False, dropped=12),
            told("order", "something_new", level="debug"),
            Record("order", 0.0, "", "error", "an ordinary line"),
        ]
    )
    assert {change.text for change in picture.told.changes()} == {
        "saga checkout o1 is stuck: no",
        "check database pass -> fail: away",
        "dead letter of placed: boom",
        "keys unavailable: timeout",
        "12 spans and signals never came",
    }


def test_a_lag_and_repeated_calls_are_on_the_map(tmp_path: Path) -> None:
    """What a service's groups have before them stands at its event edge for a minute; retries are counted by the second."""
    clock = VirtualClock()
    picture = Picture(Sources(topology=shop(tmp_path)), clock=clock)
    picture.add_records(
        [told("shipping", "consumer_lag", group=group, lag=lag) for group, lag in (("shipping", 5), ("labels", 2))]
    )
    picture.add_records(
        [told("order", "retry_planned")] * 60 + [told("order", "call_refused", reason="overloaded")] * 30
    )
    view = picture.view()
    assert [edge["lag"] for edge in view["edges"] if edge["kind"] == "event"] == [7]
    (order,) = [one for one in view["services"] if one["name"] == "order"]
    assert order["retries"] > 0
    assert order["shed"] > 0
    clock.advance(61)
    assert [edge["lag"] for edge in picture.view()["edges"] if edge["kind"] == "event"] == [None]


def test_a_stranger_s_clock_decides_nothing() -> None:
    """What is said to have happened next year happened now."""
    clock = VirtualClock()
    picture = Picture(Sources(), clock=clock)
    picture.add_records([told("order", "service_changed", at=clock.now() + 1e9, state="ready")])
    assert picture.told.changes()[0].at == clock.now()


def test_records_are_read_by_the_name_of_their_event() -> None:
    """From the attribute, or from the field that newer senders use; ordinary lines have none."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "order"}}]}
    many = [{"key": f"k{n}", "value": {"intValue": str(n)}} for n in range(60)]
    lines = [
        {
            "timeUnixNano": "1750000000000000000",
            "attributes": [{"key": "event.name", "value": {"stringValue": "skerry.a"}}],
        },
        {"eventName": "skerry.b", "severityNumber": 17, "attributes": many},
        {"body": {"stringValue": "text"}, "severityText": "WARN"},
    ]
    body = json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": lines}]}]}).encode()
    one, two, three = records(body, "application/json")
    assert (one.service, one.event, one.at) == ("order", "skerry.a", 1_750_000_000.0)
    assert (two.event, two.level, len(two.fields)) == ("skerry.b", "error", MAX_ATTRIBUTES)
    assert (three.event, three.level, three.text) == ("", "warn", "text")


def test_the_console_looks_by_itself(tmp_path: Path) -> None:
    """Processes every second, databases every other; a supervisor and a database that go away are noticed within five."""
    asked = {"gone": False}

    def ps() -> list[dict[str, Any]]:
        if asked["gone"]:
            raise DeployError("the running system does not answer")
        return processes()

    @asynccontextmanager
    async def away(_service: str) -> AsyncIterator[Database]:
        raise StoreUnavailable("no answer")
        yield

    async def main(clock: VirtualClock) -> None:
        sources = Sources(topology=shop(tmp_path), processes=ps, stores=("order",), open_store=away)
        async with console(sources, clock=clock, looking=True) as client:
            await clock.sleep(5)
            view = (await client.get("/api/view", headers=BEARER)).json()
            assert view["sentence"]["text"].startswith("order cannot reach its database since ")
            assert {one["state"] for one in view["services"]} == {"ready"}
            service = (await client.get("/api/service?name=order", headers=BEARER)).json()
            assert service["database"]["reached"] is False
            asked["gone"] = True
            await clock.sleep(5)
            view = (await client.get("/api/view", headers=BEARER)).json()
            assert {one["state"] for one in view["services"]} == {"unknown"}

    run_virtual(main)


def test_the_stream_says_something_only_when_something_changed() -> None:
    """At once, then not more than twice a second and only if it differs; a comment keeps a quiet one alive."""

    async def main(clock: VirtualClock) -> None:
        picture = Picture(Sources(), clock=clock)
        views = Views(picture, clock=clock)
        stream = views.stream()
        first = await anext(stream)
        assert first.startswith(b"event: view\nid: 1\ndata: {")
        assert first.endswith(b"}\n\n")
        before = clock.monotonic()
        assert (await anext(stream)).startswith(b":")
        assert clock.monotonic() - before == ALIVE
        for number in range(2, 5):
            before = clock.monotonic()
            picture.told.note("order", "state", f"change\n\n {number}", at=clock.now())
            event = await anext(stream)
            assert event.startswith(f"event: view\nid: {number}\n".encode())
            assert event.count(b"\n\n") == 1
            assert clock.monotonic() - before == EVERY
        views.closing = True
        assert [each async for each in stream] == []
        assert views.streams == 0

    run_virtual(main)


def test_too_many_pages_are_told_so() -> None:
    """Streams have a bound; further ones get an answer at once."""

    async def main() -> None:
        picture = Picture(Sources())
        views = Views(picture)
        streams = [views.stream() for _ in range(MAX_STREAMS)]
        for stream in streams:
            await anext(stream)
        assert views.streams == MAX_STREAMS
        for stream in streams:
            await stream.aclose()
        assert views.streams == 0

    asyncio.run(main())


def test_checks_and_ramps_come_from_who_knows_them() -> None:
    """A check is run when asked for, and kept; without a source there is none, and that is said."""
    found = {"findings": [{"rule": "no-timeout"}]}
    before = {"checks": None, "available": True, "running": False, "error": ""}

    async def main() -> None:
        async with console(Sources(check=lambda: found, strangler=lambda: [{"route": "a"}])) as client:
            assert (await client.get("/api/checks", headers=BEARER)).json() == before
            assert (await client.post("/api/checks", headers=ACT, json={})).json() == {**before, "checks": found}
            assert (await client.get("/api/checks", headers=BEARER)).json()["checks"] == found
            assert (await client.get("/api/strangler", headers=BEARER)).json() == [{"route": "a"}]
        async with console() as client:
            assert (await client.post("/api/checks", headers=ACT, json={})).status_code == 404
            assert (await client.get("/api/strangler", headers=BEARER)).json() == []

    asyncio.run(main())


def test_a_check_that_fails_or_takes_long_is_told() -> None:
    """The page gets an answer all the same: why it failed, or that it is under way, and no second one begins meanwhile."""
    begun = []
    go_on = threading.Event()

    def check() -> dict[str, Any]:
        begun.append(1)
        if len(begun) == 1:
            raise ConfigurationError("there is no repository")
        go_on.wait(30)
        return {"findings": []}

    async def main() -> None:
        async with console(Sources(check=check)) as client:
            failed = (await client.post("/api/checks", headers=ACT, json={})).json()
            assert (failed["error"], failed["running"]) == ("there is no repository", False)
            first = asyncio.create_task(client.post("/api/checks", headers=ACT, json={}))
            while len(begun) < 2:
                await asyncio.sleep(0)
            second = asyncio.create_task(client.post("/api/checks", headers=ACT, json={}))
            while not (await client.get("/api/checks", headers=BEARER)).json()["running"]:
                await asyncio.sleep(0)
            go_on.set()
            for answer in await asyncio.gather(first, second):
                assert answer.json() == {"checks": {"findings": []}, "available": True, "running": False, "error": ""}
            assert len(begun) == 2

    asyncio.run(main())
