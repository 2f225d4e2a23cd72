"""The guides for those who come from another library: every option has a row; what is lost and kept is seen on real brokers."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks_of

BOUND = 120.0
CHAIN = """
import pathlib, time, tasks
from celery import chain
from tasks import app

@app.task(name="power_cut")
def power_cut(trip):
    pathlib.Path("begun").touch()
    time.sleep(600)  # until it is killed

@app.task(name="broken_errback")
def broken_errback(request, error, traceback):
    raise OSError("the hotel does not answer")

def lost():
    return chain(tasks.book_hotel.s({}), power_cut.s(), tasks.send_tickets.s()).on_error(tasks.give_up.s()).delay()

def declined():
    trip = {"card": "declined"}
    return chain(tasks.book_hotel.s(trip), tasks.pay.s(), tasks.send_tickets.s()).on_error(broken_errback.s()).delay()
"""
SAGA = """
import asyncio, os, signal, sys, booking

class PowerCut(list):
    def append(self, what):
        if what == "paid":
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    await booking.travel.start()
    status = await booking.travel.sagas.wait(await booking.order_trip(booking.Trip(id="1", card="good")))
    await booking.travel.stop()
    print(status.status, booking.seen)

if sys.argv[1:]:
    booking.seen = PowerCut()
asyncio.run(main())
"""


def page(peer: str) -> str:
    return f"docs/how-to/migrate-from-{peer}.md"


def rows(peer: str) -> set[str]:
    """What stands in code in the first column of the table of options."""
    table = (ROOT / page(peer)).read_text().partition("## Every option")[2].partition("\n## ")[0]
    first = [line.replace(r"\|", "").split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return {word for cell in first for code in re.findall(r"`([^`]+)`", cell) for word in re.findall(r"\w+", code)}


def options(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "args", "kwargs", "options"}


def test_every_option_of_tenacity_has_a_row() -> None:
    """All that its controller takes, and every condition, stop and wait that it exports, is told of."""
    import tenacity

    parts = {name for name in tenacity.__all__ if re.match(r"(retry|stop|wait)_\w+", name)} - {"retry_base"}
    logs = {"before_log", "after_log", "before_sleep_log", "sleep_using_event"}
    assert options(tenacity.BaseRetrying.__init__) | parts | logs <= rows("tenacity")


def test_every_option_of_pybreaker_has_a_row() -> None:
    """All that its breaker takes, and each of its methods, is told of."""
    import pybreaker

    breaker = pybreaker.CircuitBreaker
    methods = {
        "call",
        "calling",
        "call_async",
        "open",
        "close",
        "half_open",
        "fail_counter",
        "success_counter",
        "state",
    }
    assert methods <= vars(breaker).keys()
    assert options(breaker.__init__) | methods <= rows("pybreaker")


def test_every_option_of_faststream_has_a_row() -> None:
    """All that a subscriber, a publisher and a message on NATS can be told is told of."""
    from faststream.nats import NatsBroker

    asked = (NatsBroker.subscriber, NatsBroker.publisher, NatsBroker.publish)
    assert set().union(*map(options, asked)) <= rows("faststream")


def test_every_option_of_celery_tasks_has_a_row() -> None:
    """Every attribute of a task that its documentation explains, and every shape of work, is told of."""
    from celery import canvas
    from celery.app.task import Task

    explained = set(re.findall(r"^    #:.*\n    ([a-z][a-z_]+) = ", inspect.getsource(Task), re.MULTILINE))
    inner = {"request_stack", "abstract"}
    shapes = {name for name in canvas.__all__ if name.islower()} - {"signature", "maybe_signature"}
    retries = {
        "autoretry_for",
        "dont_autoretry_for",
        "retry_backoff",
        "retry_backoff_max",
        "retry_jitter",
        "retry_kwargs",
    }
    assert {"acks_late", "time_limit"} <= explained
    assert (explained - inner) | shapes | retries <= rows("celery")


def test_both_live_on_one_nats_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What FastStream publishes as the page says is handled once by a service, and it reads what a service records."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    monkeypatch.setenv("SKERRY_DATA", str(tmp_path / "data"))
    from faststream.nats import JStream, NatsBroker

    from servers.nats import NatsServer
    from skerry import Service

    names: dict[str, Any] = {}
    for block in [block for block in blocks_of(page("faststream")) if block.language == "python"]:
        exec(inspect.cleandoc(block.text), names)
    placed, message = names["OrderPlaced"], names["OrderPlacedMessage"]

    async def main(url: str) -> tuple[list[str], list[tuple[str, int]]]:
        events = f"{url}?durability=flushed"
        order = Service("order", database="sqlite:///order2.db", events=events)
        billing = Service("billing", database="sqlite:///billing2.db", events=events)
        billed: asyncio.Queue[str] = asyncio.Queue()
        reported: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

        @billing.on(placed)
        async def bill(event: Any, tx: Any) -> None:
            billed.put_nowait(event.order_id)

        faststream = NatsBroker(url)
        stream = JStream("events_order", declare=False)

        @faststream.subscriber(
            "events.order.shop.order.placed", durable="reports", pull_sub=True, stream=stream, decoder=names["unpacked"]
        )
        async def report(told: message) -> None:  # type: ignore[valid-type]
            reported.put_nowait((told.order_id, told.amount))

        await order.start()
        async with order.transaction() as tx:  # the first event makes the stream
            await order.outbox.record(tx, placed(order_id="0", amount=1))
        await billing.start()
        assert await billed.get() == "0"
        async with faststream:
            await faststream.start()
            for _ in range(2):  # sent again, with the same id
                body = names["as_cloud_event"](message(order_id="1", amount=5))
                await faststream.publish(body, "events.order.shop.order.placed", stream="events_order")
            async with order.transaction() as tx:
                await order.outbox.record(tx, placed(order_id="2", amount=7))
            handled = [await billed.get() for _ in range(2)]
            told = [await reported.get() for _ in range(4)]
        await billing.stop()
        await order.stop()
        return handled, told

    with NatsServer(tmp_path / "nats") as server:
        handled, told = asyncio.run(asyncio.wait_for(main(server.url()), BOUND))
    assert handled == ["1", "2"]
    assert told == [("0", 1), ("1", 5), ("1", 5), ("2", 7)]


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with the modules of the page on Celery."""
    for block in blocks_of(page("celery")):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    return tmp_path


def python(folder: Path, *arguments: str, apart: bool = False, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "SKERRY_DATA": str(folder / "data"), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=apart,
    )


def worker(folder: Path, url: str) -> subprocess.Popen[str]:
    """A worker as it is by default, with one process of its pool; in a group of its own, so that both can be killed at once."""
    options = ("-c", "1", "--without-gossip", "--without-mingle", "--without-heartbeat")
    return python(folder, "-m", "celery", "-A", "crash", "worker", *options, apart=True, CELERY_BROKER_URL=url)


def left(url: str) -> set[str]:
    """What waits at the broker, acknowledged or not."""
    import redis

    client = redis.Redis.from_url(url)
    try:
        kept = (
            b"_kombu.binding",
            b"unacked_mutex",
        )  # no messages: who listens, and who looks for lost ones at the moment
        return {key.decode() for key in client.keys("*") if not key.startswith(kept)}
    finally:
        client.close()


def send(folder: Path, url: str, chain: str) -> None:
    sent = python(folder, "-c", f"import crash; crash.{chain}()", CELERY_BROKER_URL=url)
    said, _ = sent.communicate(timeout=BOUND)
    assert sent.returncode == 0, said


def test_celery_forgets_an_errback_that_fails_and_the_rest_of_a_chain_that_is_killed(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An errback that raises is logged; a worker killed in a task takes the steps after it along: the broker has nothing left."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from servers.redis import RedisServer

    (modules / "crash.py").write_text(CHAIN)
    with RedisServer(modules / "redis") as server:
        url = server.url()
        running = worker(modules, url)
        assert running.stdout is not None
        try:
            send(modules, url, "declined")
            assert any("'broken_errback' raised an exception" in line for line in running.stdout)
            send(modules, url, "lost")
            give_up = time.monotonic() + BOUND
            while not (modules / "begun").exists() or left(url):  # begun, and so acknowledged
                assert time.monotonic() < give_up, left(url)
                time.sleep(0.05)
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate(timeout=BOUND)
        assert left(url) == set()


def test_the_same_trip_as_a_saga_goes_on_after_a_kill(modules: Path) -> None:
    """Killed in the step that pays, it pays with the same key after the restart, and completes."""
    (modules / "saga.py").write_text(SAGA)
    first = python(modules, "saga.py", "cut the power")
    said, _ = first.communicate(timeout=BOUND)
    assert first.returncode == -signal.SIGKILL, said
    said, _ = python(modules, "saga.py").communicate(timeout=BOUND)
    assert said == "completed ['paid', 'tickets sent for B-1']\n"


def test_a_compensation_that_fails_is_tried_again(tmp_path: Path) -> None:
    """Where Celery's errback is gone, a saga has its room cancelled at the third attempt."""
    from skerry import Rejected, Saga, Service, StepContext
    from skerry.testing import VirtualClock, run_virtual

    async def main(clock: VirtualClock) -> tuple[str, int]:
        saga, tries = Saga("trip", input=str), []

        @saga.step()
        async def book(ctx: StepContext, trip: str) -> None: ...

        @book.compensate
        async def cancel(ctx: StepContext, trip: str, _result: None) -> None:
            tries.append(ctx.attempt)
            if len(tries) < 3:
                raise OSError("the hotel does not answer")

        @saga.pivot()
        async def pay(ctx: StepContext, trip: str) -> None:
            raise Rejected("declined")

        service = Service("trips", database=f"sqlite:///{tmp_path}/trips.db", clock=clock)
        service.add(saga)
        await service.start()
        try:
            return (await service.sagas.run(saga, "sea", key="1")).status, len(tries)
        finally:
            await service.stop()

    assert run_virtual(main) == ("compensated", 3)
