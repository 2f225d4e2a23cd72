"""A whole system in one process: what lives, what dies, what is left, and that all of it can be repeated."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
from pathlib import Path

import pytest
from fastapi import FastAPI

from skerry import Service, context, signals
from skerry.client import ServiceClient
from skerry.errors import ConfigurationError, ConnectionLost, DeadlineExceeded, ReplyTooLarge, Unreachable
from skerry.events import DeadLetter, DomainEvent
from skerry.resilience import Policy, Retry
from skerry.testing import assert_policy
from skerry.testing.system import Event, NotSettled, Stage, network
from skerry.testing.system.rest import disordered, handled_twice


class Counted(DomainEvent, type="unit.counted", version=1, key="name"):
    name: str


class Bad(DomainEvent, type="unit.bad", version=1, key="name"):
    name: str


def make_counter():
    """POST /count/NAME counts a name in the database, and tells of it."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        name = scope["path"].rpartition("/")[2]
        async with service.transaction() as tx:
            await tx.execute("INSERT INTO counts VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1", (name,))
            await service.outbox.record(tx, Counted(name=name))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    service = Service("counter", app=app, database="sqlite:///counter.db", events="sqlite:///events/")

    @service.on_start
    async def tables():
        async with service.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, n INTEGER)")

    return service


def make_reader(handle=None):
    """Handles what the counter tells, and keeps the names."""
    service = Service("reader", database="sqlite:///reader.db", events="sqlite:///events/")

    @service.on_start
    async def tables():
        async with service.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS names (name TEXT)")

    @service.on(Counted, retry=Retry(2, base=1.0), on_poison=DeadLetter())
    async def counted(event, tx):
        if handle is not None:
            await handle(event)
        await tx.execute("INSERT INTO names VALUES (?)", (event.name,))

    return service


async def counts(system):
    rows = await system.services["counter"].database.fetch_all("SELECT name, n FROM counts ORDER BY name")
    return {row["name"]: row["n"] for row in rows}


async def names(system):
    rows = await system.services["reader"].database.fetch_all("SELECT name FROM names ORDER BY rowid")
    return [row["name"] for row in rows]


async def test_calls_and_events_go_from_service_to_service(skerry_system):
    """A call over the test's client takes effect, and what it tells arrives."""
    async with skerry_system([make_counter, make_reader]) as system:
        reply = await system.client("counter").post("/count/a")
        assert (reply.status, reply.content) == (200, b"a")
        await system.settled()
        assert (await counts(system), await names(system)) == ({"a": 1}, ["a"])
        assert system.events.assert_once("Counted").source == "counter"
        assert system.events.assert_once(Counted, key="a").data["name"] == "a"


async def test_what_a_killed_service_committed_stays(skerry_system, faults):
    """After a kill nobody answers; after the restart the database is as it was, and the object is another one."""
    async with skerry_system([make_counter]) as system:
        before = system.services["counter"]
        await system.client("counter").post("/count/a")
        faults.kill("counter")
        with pytest.raises(Unreachable, match="counter: no connection could be made"):
            await system.client("counter").post("/count/a")
        await faults.restart("counter")
        assert await counts(system) == {"a": 1}
        assert system.services["counter"] is not before


async def test_nothing_of_a_killed_service_runs_any_more(skerry_system, faults):
    """Not even `finally` runs, as after SIGKILL, and a timer that was set does not fire."""
    ran = []

    async def act(service):
        asyncio.get_running_loop().call_later(1.0, ran.append, "timer")
        try:
            await asyncio.sleep(5.0)
            ran.append("after the sleep")
        finally:
            ran.append("finally")

    system = skerry_system([make_counter])
    await system.start()
    acting = asyncio.ensure_future(system.inside("counter", act))
    await system.advance(0.5)
    faults.kill("counter")
    with pytest.raises(ConnectionLost, match="killed before it was done"):
        await acting
    await system.advance(60.0)
    assert ran == []


def test_what_was_killed_ends_without_a_complaint(tmp_path, caplog):
    """At the end of the test its blocks are left in the context in which they were entered, so none of them fails."""

    async def act(service):
        with context.use(context.CallContext()):
            await asyncio.sleep(5.0)

    async def main(system):
        acting = asyncio.ensure_future(system.inside("counter", act))
        await system.advance(0.5)
        system.faults.kill("counter")
        with pytest.raises(ConnectionLost):
            await acting

    with Stage(seed=0, folder=tmp_path, root=tmp_path) as stage:
        stage.system([make_counter]).run(main)
    del stage
    gc.collect()  # asyncio complains of a task when that goes
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_a_transaction_that_was_open_is_undone(skerry_system, faults):
    """Killed before the commit there is no effect, killed after it there is one; the caller is told the same both times."""
    async with skerry_system([make_counter]) as system:
        for point, expected in ((1, {}), (2, {"a": 1})):
            faults.kill("counter", at=point)
            with pytest.raises(ConnectionLost):
                await system.client("counter").post("/count/a")
            await faults.restart("counter")
            assert await counts(system) == expected


async def test_a_service_comes_back_by_itself(skerry_system, faults):
    """`restart_after` seconds later it is there again, and `settled` waits for it."""
    async with skerry_system([make_counter]) as system:
        faults.kill("counter", restart_after=30.0)
        await system.settled()
        assert system.clock.monotonic() >= 30.0
        assert (await system.client("counter").get("/count/a")).status == 200


async def test_a_start_has_no_crash_points(skerry_system, faults):
    """What a service commits while it starts is not counted, also not after it was killed in the middle of a start."""
    pause = 0.0

    def make_slow():
        service = make_counter()

        @service.on_start
        async def wait():
            await service.clock.sleep(pause)

        return service

    async with skerry_system([make_slow]) as system:
        pause = 10.0
        restarting = asyncio.ensure_future(faults.restart("counter"))
        await system.advance(1.0)
        faults.kill("counter")
        await restarting
        await faults.restart("counter")
        assert faults.reached("counter") == 0


async def test_a_service_that_does_not_come_back_fails_the_test(skerry_system, faults):
    """What its start raises is told at the end, until it has been brought back after all."""
    refused = False

    def make_moody():
        service = Service("moody", database="sqlite:///moody.db")

        @service.on_start
        async def refuse():
            if refused:
                raise OSError("no licence")

        return service

    system = skerry_system([make_moody])
    await system.start()
    refused = True
    faults.kill("moody", restart_after=1.0)
    with pytest.raises(AssertionError, match="at the end moody did not come back: OSError: no licence"):
        await system.check()
    refused = False
    await faults.restart("moody")
    await system.check()


async def test_faults_of_calls(skerry_system, faults):
    """A delayed call is late, a dropped one is never answered, a doubled one counts twice, a lost reply counts once."""
    system = skerry_system([make_counter])
    await system.start()
    client = system.client("counter")
    faults.delay("counter", seconds=7.0, route="POST /count/slow", count=1)
    begun = system.clock.monotonic()
    await client.post("/count/slow")
    assert system.clock.monotonic() - begun == pytest.approx(7.0)
    faults.drop("counter", route="POST /count/gone")
    with pytest.raises(DeadlineExceeded):
        await client.post("/count/gone", timeout=3.0)
    faults.duplicate("counter", route="POST /count/twice")
    await client.post("/count/twice")
    faults.lost_reply("counter", route="POST /count/lost", count=1)
    with pytest.raises(ConnectionLost, match="the reply was lost"):
        await client.post("/count/lost")
    assert await counts(system) == {"lost": 1, "slow": 1, "twice": 2}


@pytest.mark.parametrize(("pieces", "error"), [(100_000, DeadlineExceeded), (10, ReplyTooLarge)])
async def test_a_reply_without_end_can_be_left(skerry_system, faults, monkeypatch, pieces, error):
    """A fault that needs all of a reply ends with the caller's time or at its own limit, and the service hears of it."""
    monkeypatch.setattr(network, "PIECES", pieces)
    ended = []

    def make_ticker():
        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                for _ in range(1_000):
                    await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                    await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                ended.append(True)
                raise

        return Service("ticker", app=app, database="sqlite:///ticker.db")

    async with skerry_system([make_ticker]) as system:
        faults.lost_reply("ticker")
        with pytest.raises(error):
            await system.client("ticker").get("/", timeout=30.0)
        await system.advance(1.0)
        assert ended == [True]


async def test_faults_of_events(skerry_system, faults):
    """Whatever happens to a batch on its way, its events are handled once."""
    async with skerry_system([make_counter, make_reader]) as system:
        faults.drop(event="Counted", count=2)
        faults.lost_reply(event=Counted, count=2)
        faults.delay(event="unit.counted", seconds=5.0, count=1)
        faults.duplicate("counter", event="Counted")
        await system.client("counter").post("/count/a")
        await system.settled()
        assert await names(system) == ["a"]
        assert system.events.copies(system.events.assert_once("Counted")) > 2


def test_a_fault_says_what_it_is_about(faults):
    """Without a service or an event, with both a route and an event, or with a share of nothing it is refused."""
    with pytest.raises(ValueError, match="which service, or which event"):
        faults.drop()
    with pytest.raises(ValueError, match="a route or an event, not both"):
        faults.drop(event="Counted", route="GET /")
    with pytest.raises(ValueError, match="a share is above 0"):
        faults.drop("counter", share=0.0)
    with pytest.raises(RuntimeError, match="no system runs"):
        faults.kill("counter")


async def test_a_fault_that_met_nothing_fails_the_test(skerry_system, faults):
    """A route that nobody calls and a crash point that is never reached are told, until they are cleared or allowed."""
    system = skerry_system([make_counter])
    await system.start()
    faults.drop("counter", route="POST /cuont/*")
    faults.kill("counter", at=99)
    with pytest.raises(
        AssertionError, match=r"the fault `drop counter POST /cuont/\*` has met nothing; counter was to die"
    ):
        await system.check()
    faults.clear()
    await system.check()
    await system.stop()
    async with skerry_system([make_counter], allow=["unmet"]):
        faults.drop("counter", route="POST /cuont/*")
        faults.kill("counter", at=99)


async def test_a_service_that_is_not_there_is_named(skerry_system, faults):
    """A wrong name tells the right ones; a call to a stranger does not go out."""
    async with skerry_system([make_counter]) as system:
        with pytest.raises(ValueError, match="no service 'conter' in this system; there are counter"):
            faults.kill("conter")
        stranger = ServiceClient("stranger", policy=Policy("x", clock=system.clock), clock=system.clock)
        with pytest.raises(Unreachable, match="no service of this system answers"):
            await stranger.get("/")


async def test_dead_letters_fail_a_test(skerry_system):
    """At the end a dead letter is told, with the type and the reason, and the system is stopped; unless it is allowed."""

    async def refuse(event):
        raise KeyError(event.name)

    with pytest.raises(AssertionError, match=r"reader has 1 dead letters \(unit.counted: KeyError\)"):
        async with skerry_system([make_counter, lambda: make_reader(refuse)]) as system:
            await system.client("counter").post("/count/a")
    async with skerry_system([make_counter, lambda: make_reader(refuse)], allow=["dead_letters"]) as system:
        await system.client("counter").post("/count/a")


async def test_what_never_rests_is_told(skerry_system):
    """`settled` ends after its time and names what is left to do."""

    async def busy(event):
        await asyncio.sleep(20.0)

    async with skerry_system([make_counter, lambda: make_reader(busy)]) as system:
        await system.client("counter").post("/count/a")
        with pytest.raises(NotSettled, match="not at rest after 10 s: reader: the group reader has events to handle"):
            await system.settled(within=10.0)


async def test_a_service_given_as_an_object_lives_once(skerry_system, faults):
    """It is taken as it is, and a restart asks for a function."""
    system = skerry_system({"counter": make_counter()})
    await system.start()
    assert (await system.client("counter").post("/count/a")).status == 200
    with pytest.raises(ConfigurationError, match="given as an object, which lives once: give a function"):
        await faults.restart("counter")


async def test_a_service_can_be_named_by_its_module(skerry_system, tmp_path, faults):
    """Its modules are imported anew for each life, and are gone at the end."""
    (tmp_path / "wares").mkdir()
    (tmp_path / "wares" / "app.py").write_text(
        "from skerry import Service\nlives = []\nservice = Service('wares', database='sqlite:///wares.db')\n"
    )
    (tmp_path / "skerry.toml").write_text("[system]\nname = 'x'\n[services.wares]\napp = 'wares.app:service'\n")
    async with skerry_system(tmp_path) as system:
        first = system.services["wares"]
        await faults.restart("wares")
        assert system.services["wares"] is not first
        assert type(system.services["wares"]) is Service


def test_the_environment_is_the_test_s_own(tmp_path, monkeypatch):
    """What the shell says to skerry is not heard, and is there again afterwards; what the test says is."""
    monkeypatch.setenv("SKERRY_DRAIN", "77")

    async def drain(system):
        return system.services["counter"].settings.drain

    with Stage(seed=0, folder=tmp_path, root=tmp_path) as stage:
        assert stage.system([make_counter]).run(drain) == 10.0
        os.environ["SKERRY_DRAIN"] = "5"
        assert stage.system([make_counter]).run(drain) == 5.0
    assert os.environ["SKERRY_DRAIN"] == "77"


def test_modules_beside_a_root_named_by_a_relative_path_are_imported_anew(tmp_path, monkeypatch):
    """Each life has modules of its own too when the root is the current folder."""
    (tmp_path / "goods.py").write_text(
        "from skerry import Service\nservice = Service('goods', database='sqlite:///g.db')\n"
    )
    monkeypatch.chdir(tmp_path)

    async def another(system):
        first = system.services["goods"]
        await system.faults.restart("goods")
        return system.services["goods"] is not first

    with Stage(seed=0, folder=tmp_path / "data", root=Path()) as stage:
        assert stage.system("goods:service").run(another)


async def test_two_systems_of_one_test_share_no_events(skerry_system):
    """The second one begins with an empty log; one that is started again finds its own."""
    async with skerry_system([make_counter, make_reader]) as system:
        await system.client("counter").post("/count/a")
    system = skerry_system([make_counter, make_reader])
    for name, expected in (("b", ["b"]), ("c", ["b", "c"])):
        async with system:
            await system.client("counter").post(f"/count/{name}")
            await system.settled()
            assert [event.key for event in system.events.all()] == expected


async def test_a_start_that_fails_is_told(skerry_system):
    """What the start raises reaches the test, and everything that had started is stopped."""

    def make_broken():
        service = Service("broken", database="sqlite:///broken.db")

        @service.on_start
        async def refuse():
            raise OSError("no licence")

        return service

    with pytest.raises(OSError, match="no licence"):
        async with skerry_system([make_counter, make_broken]):
            pass
    async with skerry_system([make_counter]) as system:
        assert (await system.client("counter").post("/count/a")).status == 200


async def test_endpoints_without_async_run_on_virtual_time(skerry_system):
    """FastAPI sends an endpoint without `async` to a thread; here it runs at once."""

    def make_api():
        api = FastAPI()
        service = Service("api", app=api, database="sqlite:///api.db")

        @api.get("/slow")
        def slow() -> float:
            service.clock.sleep_sync(30.0)
            return service.clock.monotonic()

        return service

    async with skerry_system([make_api]) as system:
        assert (await system.client("api").get("/slow")).json() == 30.0


def test_nothing_is_left_of_those_that_were_killed(tmp_path):
    """When the test is over the connections of every life are closed, and no file is anywhere but in the test's folder."""

    async def main(system):
        for point in range(1, 5):
            system.faults.kill("counter", at=point, restart_after=1.0)
            with contextlib.suppress(ConnectionError):
                await system.client("counter").post(f"/count/{point}")
            await system.settled()

    before = {id(each) for each in gc.get_objects() if isinstance(each, sqlite3.Connection)}
    files = set(Path.cwd().iterdir())
    with Stage(seed=0, folder=tmp_path, root=tmp_path) as stage:
        stage.system({"counter": make_counter, "reader": make_reader()}).run(main)
    left = [each for each in gc.get_objects() if isinstance(each, sqlite3.Connection) and id(each) not in before]
    for connection in left:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert set(Path.cwd().iterdir()) == files


def story(seed: int, folder: Path) -> list[str]:
    """What happens in a run with chance in it."""

    async def main(system):
        system.faults.delay("counter", seconds=0.3, share=0.5)
        system.faults.lost_reply("counter", share=0.3)
        policy = Policy("user", total=60.0, retry=Retry(20), clock=system.clock)
        for number in range(10):
            system.faults.kill("counter", at=1 + int(system.clock.random() * 6), restart_after=1.0)
            await system.client("counter", policy=policy).post(f"/count/{number}", idempotency_key=f"{number}")
        await system.settled()

    with Stage(seed=seed, folder=folder, root=folder) as stage:
        stage.system([make_counter, make_reader]).run(main)
        return stage.timeline.lines


def test_the_same_seed_gives_the_same_story(tmp_path):
    """Two runs with one seed have the same signals at the same moments; another seed has others."""
    first, second, other = (story(seed, tmp_path / name) for seed, name in ((7, "a"), (7, "b"), (8, "c")))
    assert first == second
    assert first != other


def test_disorder_and_doubles_are_found(tmp_path):
    """An event that took effect twice, or before an earlier one of its key, is named; a duplicate that was noticed is none."""

    def handled(event, *, duplicate=False):
        signals.emit(signals.EventHandled(group="g", type="t", id=event, duplicate=duplicate))

    with Stage(seed=0, folder=tmp_path, root=tmp_path) as stage:
        for event, key in (("1", "a"), ("2", "a"), ("3", "b")):
            stage.log.published.append(Event("t", key, event, "source", 0.0, {}))
        for event in ("3", "2", "1"):
            handled(event)
        handled("2", duplicate=True)
        assert disordered(stage.timeline, stage.log.published) == ["test handled t of the key a after a later one in g"]
        assert handled_twice(stage.timeline) == []
        handled("3")
        assert handled_twice(stage.timeline) == ["test handled the event 3 (t) twice in the group g"]


async def test_signals_tell_of_whom_they_are(skerry_system):
    """The timeline knows in which service a signal came up, and finds the signals of a kind."""
    async with skerry_system([make_counter, make_reader]) as system:
        await system.client("counter").post("/count/a")
        await system.settled()
        assert [signal.group for signal in system.timeline.of(signals.EventHandled, service="reader")] == ["reader"]
        assert system.timeline.of(signals.EventHandled, service="counter") == []


def test_a_policy_that_is_another_is_shown_line_by_line():
    """The failure marks what was wanted and what was found."""
    policy = Policy("stock", total=2.0)
    assert_policy(policy, "stock, from the outside in:\n1. total time-out: 2 s")
    with pytest.raises(AssertionError, match=r"- 1. total time-out: 3 s\n\+ 1. total time-out: 2 s"):
        assert_policy(policy, "stock, from the outside in:\n1. total time-out: 3 s")
