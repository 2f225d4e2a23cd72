from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import pytest

from skerry import signals
from skerry.errors import ConfigurationError, StoreBusy
from skerry.health import HealthChecks
from skerry.signals import HealthChanged, Signal
from skerry.testing import VirtualClock, run_virtual


class Dependency:
    """Something to ask; it counts how often, and answers, hangs or raises."""

    def __init__(self, answer: object = None, *, hangs: bool = False) -> None:
        self.answer = answer
        self.hangs = hangs
        self.asked = 0

    async def ping(self) -> object:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def seen() -> Iterator[list[Signal]]:
    heard: list[Signal] = []
    unsubscribe = signals.subscribe(heard.append)
    yield heard
    unsubscribe()


def test_everything_that_answers_passes() -> None:
    """A check whose function returns passes, and what it returned is shown."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("database", Dependency(3).ping)
        report = await checks.run()
        assert report.status == "pass"
        assert report.checks["database"].observed_value == 3

    run_virtual(main)


def test_a_critical_failure_fails_the_whole() -> None:
    """One failing critical check makes the report fail."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("database", Dependency(OSError()).ping)
        checks.add("cache", Dependency().ping)
        report = await checks.run()
        assert (report.status, report.ok) == ("fail", False)
        assert report.checks["cache"].status == "pass"

    run_virtual(main)


def test_other_failures_only_warn() -> None:
    """A failing check that is not critical leaves the service fit for traffic."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("recommendations", Dependency(OSError()).ping, critical=False)
        report = await checks.run()
        assert (report.status, report.ok) == ("warn", True)

    run_virtual(main)


def test_a_hanging_check_fails_in_time() -> None:
    """A check that never answers fails after its time-out, and the others are not held up."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("database", Dependency(hangs=True).ping, timeout=0.5)
        checks.add("cache", Dependency().ping, timeout=5.0)
        report = await checks.run()
        assert clock.monotonic() == pytest.approx(0.5)
        assert report.checks["database"].output == "no answer within 0.5 s"
        assert report.checks["cache"].status == "pass"

    run_virtual(main)


def test_a_check_that_refuses_to_be_cancelled_does_not_hang_the_probe() -> None:
    """A check that swallows its cancellation is reported as failed and is not started a second time while it runs."""

    async def main(clock: VirtualClock) -> None:
        started = 0
        release = asyncio.Event()

        async def stubborn() -> None:
            nonlocal started
            started += 1
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

        checks = HealthChecks(clock=clock)
        checks.add("database", stubborn, timeout=0.5)
        for _ in range(3):
            assert (await checks.run()).status == "fail"
            await clock.sleep(2.0)
        assert started == 1
        release.set()
        await clock.sleep(2.0)
        assert (await checks.run()).status == "pass"

    run_virtual(main)


def test_a_storm_of_probes_asks_once() -> None:
    """A thousand callers at the same moment share one run."""

    async def main(clock: VirtualClock) -> None:
        dependency = Dependency()
        checks = HealthChecks(clock=clock)
        checks.add("database", dependency.ping)
        reports = await asyncio.gather(*(checks.run() for _ in range(1000)))
        assert dependency.asked == 1
        assert {report.status for report in reports} == {"pass"}

    run_virtual(main)


def test_a_result_is_kept_for_a_second() -> None:
    """Within the cache time nobody is asked again; after it everybody is."""

    async def main(clock: VirtualClock) -> None:
        dependency = Dependency()
        checks = HealthChecks(clock=clock)
        checks.add("database", dependency.ping)
        await checks.run()
        await clock.sleep(0.9)
        await checks.run()
        assert dependency.asked == 1
        await clock.sleep(0.2)
        await checks.run()
        assert dependency.asked == 2

    run_virtual(main)


def test_a_caller_that_leaves_does_not_take_the_answer_along() -> None:
    """When the caller who started a run is cancelled, those who joined it still get its report."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("slow", lambda: clock.sleep(0.5))
        first = asyncio.create_task(checks.run())
        second = asyncio.create_task(checks.run())
        await clock.sleep(0.1)
        first.cancel()
        assert (await second).status == "pass"

    run_virtual(main)


def test_no_secret_in_the_output() -> None:
    """Of a foreign exception only the class is told, since its message may hold a DSN; our own messages are told."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("foreign", Dependency(OSError("postgresql://app:hunter2@db/orders")).ping)
        checks.add("own", Dependency(StoreBusy("too many wait")).ping)
        checks.add("object", Dependency(object()).ping)
        report = await checks.run()
        assert report.checks["foreign"].output == "OSError"
        assert report.checks["own"].output == "StoreBusy: too many wait"
        assert report.checks["object"].observed_value is None
        assert b"hunter2" not in report.body()

    run_virtual(main)


def test_the_body_is_health_json() -> None:
    """The body has the draft's shape: a status, and per check a list of entries with status, output and time."""

    async def main(clock: VirtualClock) -> None:
        checks = HealthChecks(clock=clock)
        checks.add("database", Dependency(OSError()).ping)
        checks.add("queue", Dependency(7).ping)
        body = json.loads((await checks.run()).body())
        assert body["status"] == "fail"
        assert body["checks"]["database"] == [
            {"status": "fail", "output": "OSError", "time": "2025-06-15T15:06:40.000Z"}
        ]
        assert body["checks"]["queue"][0]["observedValue"] == 7

    run_virtual(main)


def test_changes_are_told_once(seen: list[Signal]) -> None:
    """A signal tells when a check goes from one status to another, and only then."""

    async def main(clock: VirtualClock) -> None:
        dependency = Dependency()
        checks = HealthChecks(clock=clock, cache=0.0)
        checks.add("database", dependency.ping)
        for answer in (None, OSError(), OSError(), None):
            dependency.answer = answer
            await checks.run()
            await clock.sleep(1.0)

    run_virtual(main)
    changes = [(s.before, s.after) for s in seen if isinstance(s, HealthChanged)]
    assert changes == [("pass", "fail"), ("fail", "pass")]


@pytest.mark.parametrize("timeout", [0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_a_time_out_is_bounded(timeout: float) -> None:
    """A time-out that is not a positive number of at most 60 seconds is refused."""
    with pytest.raises(ConfigurationError, match="time-out"):
        HealthChecks().add("database", Dependency().ping, timeout=timeout)


def test_a_name_is_taken_once() -> None:
    """Two checks cannot have one name: one would hide the other."""
    checks = HealthChecks()
    checks.add("database", Dependency().ping)
    with pytest.raises(ConfigurationError, match="already"):
        checks.add("database", Dependency().ping)
