"""The gateway's own health: whether it lives, whether it has started, whether to send it work.

What it shares with all other gateways, services and the keys of providers, only warns: did it fail readiness, then one
ill service would take all gateways away from all the others. None of it is asked here; what is known already is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from skerry.clock import Clock
from skerry.health import CheckResult, HealthReport
from skerry.health.report import MEDIA_TYPE
from skerry.service.problem import Answer

FRESH: Final = 1.0
"""Seconds for which readiness is told again without looking, so that a storm of probes costs nothing."""
MAX_TOLD: Final = 100
_HEADERS: Final = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
PATHS: Final = frozenset({"/health/live", "/health/ready", "/health/startup"})


class Health:
    """Answers for `/health/live`, `/health/ready` and `/health/startup`.

    `troubles` says what is amiss right now: the name of a check, and what it found. It is called once a second at most.
    """

    __slots__ = ("_clock", "_ready", "_troubles", "_until", "draining")

    def __init__(self, troubles: Callable[[], Iterable[tuple[str, str]]], clock: Clock) -> None:
        self._clock = clock
        self._troubles = troubles
        self._ready: Answer | None = None
        self._until = 0.0
        self.draining: bool = False

    def answer(self, path: str) -> Answer | None:
        """The answer to a GET of `path`; None for a path that is none of the three."""
        if path not in PATHS:
            return None
        if path != "/health/ready":
            return _told(HealthReport("pass", {}))  # to answer at all is to live, and to have started
        if self.draining:
            return _told(HealthReport("fail", {"process": CheckResult("fail", self._clock.now(), "draining")}))
        now = self._clock.monotonic()
        if self._ready is None or now >= self._until:
            self._ready = _told(self._report())
            self._until = now + FRESH
        return self._ready

    def _report(self) -> HealthReport:
        at = self._clock.now()
        found = dict(list(self._troubles())[:MAX_TOLD])
        checks = {name: CheckResult("warn", at, trouble) for name, trouble in found.items()}
        return HealthReport("warn" if checks else "pass", checks)


def _told(report: HealthReport) -> Answer:
    return Answer(200 if report.ok else 503, _HEADERS, report.body())
