"""The checks themselves: running each within its time, once for everybody who asks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from skerry import context, signals
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, SkerryError
from skerry.health.report import CheckResult, HealthReport, Observed, Status

CheckFunction = Callable[[], Awaitable[object]]
MAX_CHECKS = 100
MAX_TIMEOUT = 60.0
MAX_OUTPUT = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a dependency. It passes when `function` returns, fails when it raises or takes too long.

    A number or short string it returns becomes the observed value. A failing check makes the whole fail
    only when `critical`; otherwise it is a warning.
    """

    name: str
    function: CheckFunction
    timeout: float
    critical: bool


class HealthChecks:
    """The checks of one process.

    `run` asks all checks at the same time, takes no longer than the longest of their time-outs, and never raises for what
    a check does. Callers that come while a run is under way share it; a result is
    kept for `cache` seconds. So a storm of probes costs a dependency one question a second.

        checks = HealthChecks()
        checks.add("database", database.ping, timeout=0.5)
        checks.add("recommendations", recommendations.ping, critical=False)
        report = await checks.run()
    """

    def __init__(self, *, cache: float = 1.0, clock: Clock = SYSTEM) -> None:
        self._cache = cache
        self._clock = clock
        self._checks: dict[str, Check] = {}
        self._last: dict[str, CheckResult] = {}
        self._report: HealthReport | None = None
        self._fresh_until = 0.0
        self._run: asyncio.Task[HealthReport] | None = None
        self._under_way: dict[str, asyncio.Task[_Passed | str]] = {}

    def add(self, name: str, function: CheckFunction, *, timeout: float = 1.0, critical: bool = True) -> None:
        """Ask `function` in every run from now on. Raises `ConfigurationError` for a name taken or a time-out out of range.

        `function` takes no argument and should not write. `timeout` is in seconds, at most 60; after it the function is
        cancelled, and should it go on regardless it is not asked again until it has ended.
        """
        if name in self._checks:
            raise ConfigurationError(f"there is a health check {name!r} already; give this one another name")
        if not 0 < timeout <= MAX_TIMEOUT:
            raise ConfigurationError(
                f"health check {name!r}: the time-out must be over 0 and at most {MAX_TIMEOUT:g} s"
            )
        if len(self._checks) == MAX_CHECKS:
            raise ConfigurationError(f"health check {name!r} is one too many: at most {MAX_CHECKS}")
        self._checks[name] = Check(name, function, timeout, critical)
        self._report = None

    async def run(self) -> HealthReport:
        """The state now, or at most `cache` seconds ago."""
        if self._report is not None and self._clock.monotonic() < self._fresh_until:
            return self._report
        if self._run is None or self._run.done():
            # Its own task: the caller who happens to come first may leave without taking the others' answer away.
            with context.use(context.EMPTY):
                self._run = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._run)

    async def _ask_all(self) -> HealthReport:
        checks = tuple(self._checks.values())
        results = await asyncio.gather(*(self._ask(check) for check in checks))
        for check, result in zip(checks, results, strict=True):
            self._announce(check.name, result)
        report = HealthReport(_overall(results), {c.name: r for c, r in zip(checks, results, strict=True)})
        if len(checks) == len(self._checks):
            self._report = report
            self._fresh_until = self._clock.monotonic() + self._cache
        return report

    async def _ask(self, check: Check) -> CheckResult:
        task = self._under_way.get(check.name)
        if task is None:
            task = asyncio.create_task(_observe(check))
            self._under_way[check.name] = task
            task.add_done_callback(lambda _: self._under_way.pop(check.name, None))
        # Not asyncio.timeout: a check that swallows its cancellation must not hold up the probe, nor be started twice.
        done, _ = await asyncio.wait({task}, timeout=check.timeout)
        if done and not task.cancelled():
            outcome = task.result()
        else:
            task.cancel()
            outcome = f"no answer within {check.timeout:g} s"
        if isinstance(outcome, _Passed):
            return CheckResult("pass", self._clock.now(), observed_value=outcome.observed)
        return CheckResult("fail" if check.critical else "warn", self._clock.now(), outcome)

    def _announce(self, name: str, result: CheckResult) -> None:
        before = self._last.get(name)
        self._last[name] = result
        if before is None and result.status == "pass":
            return
        if before is None or before.status != result.status:
            change = signals.HealthChanged(
                check=name, before=before.status if before else "pass", after=result.status, reason=result.output
            )
            signals.emit(change)


@dataclass(frozen=True, slots=True)
class _Passed:
    observed: Observed


async def _observe(check: Check) -> _Passed | str:
    """What the check found, or why it failed."""
    try:
        value = await check.function()
    except Exception as error:  # whatever a check raises is its answer
        return _explain(error)
    if isinstance(value, str):
        return _Passed(value[:MAX_OUTPUT])
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return _Passed(value)
    return _Passed(None)  # the repr of an arbitrary object may hold an address with a password


def _explain(error: Exception) -> str:
    """A driver's message may carry a DSN or a statement, so only skerry's own messages are shown; of others, the class."""
    return f"{type(error).__name__}: {error}"[:MAX_OUTPUT] if isinstance(error, SkerryError) else type(error).__name__


def _overall(results: list[CheckResult]) -> Status:
    found = {result.status for result in results}
    return "fail" if "fail" in found else "warn" if "warn" in found else "pass"
