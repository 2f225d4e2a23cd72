"""What Envoy counted of strangled routes, as the tally of a gateway: its statistics are read a few times a second.

Envoy's statistics of a cluster count attempts, but evidence is of requests, each of which fails once or not at all: attempts of
one request fail together. So a request is counted when it ends, by cluster, status, number of attempts and how its stream ended:
as an error when the answer is one, when it was cut off, and when it was good only because it had been asked for again, or of the
other side. That is exactly those whose first attempt failed. Times are until the answer began, repetitions among it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.envoy.admin import Admin, Sums
from skerry.errors import EnvoyError
from skerry.gateway.envoy.strangling import OR_CONTROL, PREFIX, Counted
from skerry.gateway.envoy.values import Plain, extension
from skerry.gateway.strangler import tally

_log = logging.getLogger("skerry.gateway")

_PREFIX: Final = "strangled"
_REQUESTS, _TIMES = "requests", "times"
_MICROSECONDS: Final = 1_000_000
_LONGEST: Final = 86_400.0
HISTOGRAMS: Final = {_PREFIX: tuple(bound * _MICROSECONDS for bound in (*tally.BOUNDS, _LONGEST))}
"""What Envoy is to start with, so that its buckets are those of a tally."""
_PATTERN: Final = rf"^({_PREFIX}\.|cluster\.{PREFIX}.*\.upstream_rq_(total|active)$)"
_ONE: Final = re.compile(
    rf"{_PREFIX}\.{_REQUESTS}\.cluster\.(.*)\.status\.([0-9]+)\.attempts\.([0-9]+|-)\.ended\.(.*)\.by\.(.*)"
)
_CUT_OFF: Final = frozenset({"UC", "UR", "UPE", "UT", "LR", "SI", "UMSDR"})
"""Envoy's flags of a stream whose answer did not come to its end by the service's fault."""
_SETTLED: Final = 2
"""Looks after which the threads of Envoy have the configuration that its main thread has taken: each of them makes all threads
add up their histograms, behind what they were to do before.
"""
_REST: Final = 20.0
"""For how many times as long as a look took there is none: with hundreds of clusters Envoy takes 10 ms and more to answer it."""
_LONGEST_PAUSE: Final = 2.0
_NAME_BYTES: Final = 6
_REFUSED, _FAILED = 400, 500


@dataclass(frozen=True, slots=True)
class _Ended:
    """So many requests that ended alike. `other`: the side that they were for did not answer."""

    number: int
    status: int
    attempts: int
    flags: frozenset[str]
    other: bool

    def add_to(self, arm: tally.Arm) -> None:
        if not self.attempts and self.status < _FAILED:  # refused before it went anywhere
            return
        arm.requests += self.number
        if self.status >= _FAILED or self.attempts > 1 or self.other or self.flags & _CUT_OFF:
            arm.errors += self.number
        elif self.status >= _REFUSED:
            arm.refused += self.number


class Counting:
    """The tally of one gateway on Envoy, in the folder `state`.

    Its sums go on over all lives of the process, for what a new one has counted is added to them; what the old one counted after
    it was last asked is lost. `life` is another whenever Envoy began anew. When it does not answer, the file stays as it is.
    """

    def __init__(self, state: Path, admin: Admin, *, life: Callable[[], object], clock: Clock) -> None:
        self.tally: tally.Tally = tally.Tally(os.getpid())
        self.name: str = f"{os.getpid()}-{clock.random_bytes(_NAME_BYTES).hex()}"
        self._file = tally.File(state, self.name)
        self._admin = admin
        self._life = life
        self._clock = clock
        self._routes: dict[str, Counted] = {}
        self._version: int | None = None
        self._holds = False
        self._looks = 0
        self._before = Sums({}, {})
        self._ended: dict[str, list[_Ended]] = {}
        self._lived: object = None
        self._wake = asyncio.Event()
        self._written = ""
        self._failed = False

    def follow(self, routes: Iterable[Counted]) -> None:
        """Count these, too: said before Envoy has them. Those that it has no longer are forgotten with `serves`."""
        self._routes |= {counted.key: counted for counted in routes}

    def serves(self, version: int | None, routes: Iterable[Counted]) -> None:
        """Envoy has taken the specification of that version. It is told with what was counted until then; where writes are held,
        once no thread of Envoy can send one elsewhere, so that `writing` has all that are still under way.
        """
        self._routes = {counted.key: counted for counted in routes}
        self._holds = any(counted.held for counted in self._routes.values())
        self._version, self._looks = version, 0
        if version is not None and not self._written:
            self._write()  # so that whoever waits for all gateways knows of this one
        self._wake.set()

    async def run(self) -> None:
        """Look and write, until cancelled."""
        with contextlib.closing(self._file):
            while True:
                began = self._clock.monotonic()
                if self._version is not None:
                    await self.look()
                pause = min(_LONGEST_PAUSE, max(tally.EVERY, _REST * (self._clock.monotonic() - began)))
                if self._holds and self._looks < _SETTLED:
                    pause = tally.EVERY
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()

    async def look(self) -> None:
        """Ask Envoy once, and tell what it says."""
        version, looks, life = self._version, self._looks, self._life()
        try:
            sums = await self._admin.sums(_PATTERN)
        except EnvoyError:
            return
        if life != self._life() or version is None:  # some of it may be of the one, some of the other
            return
        if life != self._lived:
            self._lived, self._before = life, Sums({}, {})
        self._ended = self._ended_since(sums)
        for counted in self._routes.values():
            self._add(counted, sums)
        self._before = sums
        if looks == self._looks:  # no other version since
            self._looks += 1
        if not self._holds or self._looks >= _SETTLED:
            self.tally.version = version
        self._write()

    def _add(self, counted: Counted, sums: Sums) -> None:
        route = self.tally.route(counted.route)
        route.writes += self._more(f"cluster.{counted.written()[1]}.upstream_rq_total", sums)
        route.writing = sum(sums.values.get(f"cluster.{name}.upstream_rq_active", 0) for name in counted.written())
        for arm, candidate in ((route.control, False), (route.candidate, True)):
            for name in counted.evidence(candidate=candidate):
                self._add_times(arm, f"{_PREFIX}.{_TIMES}.cluster.{name}.attempts.", sums)
                for ended in self._ended.get(name, ()):
                    ended.add_to(arm)

    def _ended_since(self, sums: Sums) -> dict[str, list[_Ended]]:
        """By cluster: what has ended since the last look."""
        found: dict[str, list[_Ended]] = {}
        for name in sums.values:
            if (parts := _ONE.fullmatch(name)) is not None and (more := self._more(name, sums)):
                cluster, status, attempts, flags, by = parts.groups()
                tried = int(attempts) if attempts.isdigit() else 0
                other = cluster.endswith(OR_CONTROL) and f"{by}{OR_CONTROL}" != cluster
                found.setdefault(cluster, []).append(
                    _Ended(more, int(status), tried, frozenset(flags.split(",")), other)
                )
        return found

    def _add_times(self, arm: tally.Arm, start: str, sums: Sums) -> None:
        for name, buckets in sums.histograms.items():
            if name.startswith(start) and name not in {f"{start}0", f"{start}-"}:
                before = self._before.histograms.get(name) or [0] * len(buckets)
                for at, (then, now) in enumerate(zip(before, buckets, strict=True)):
                    arm.times[at] += _risen(then, now)

    def _more(self, name: str, sums: Sums) -> int:
        return _risen(self._before.values.get(name, 0), sums.values.get(name, 0))

    def _write(self) -> None:
        content = tally.text(self.tally)
        if content == self._written:
            return
        try:
            self._file.put(content)
            self._written, self._failed = content, False
        except OSError as error:
            if not self._failed:
                _log.error("what strangled routes did cannot be written: %s", error)
            self._failed = True


def access_log() -> Plain:
    """What a listener has, so that its requests are counted so."""
    cluster: Plain = {"name": "cluster", "value_format": "%UPSTREAM_CLUSTER_RAW%"}
    attempts: Plain = {"name": "attempts", "value_format": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}
    status: Plain = {"name": "status", "value_format": "%RESPONSE_CODE%"}
    by: Plain = {"name": "by", "value_format": "%METADATA(UPSTREAM_HOST:skerry:cluster)%"}
    ended: Plain = {"name": "ended", "value_format": "%RESPONSE_FLAGS%"}
    requests = {"stat": {"name": _REQUESTS, "tags": [cluster, status, attempts, ended, by]}, "value_fixed": 1}
    until_it_began = "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%"
    times = {
        "stat": {"name": _TIMES, "tags": [cluster, attempts]},
        "unit": "Microseconds",
        "value_format": until_it_began,
    }
    found = extension(
        "strangled",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stat_prefix=_PREFIX,  # its successor is not in the messages of Envoy's API that we have
        counters=[requests],
        histograms=[times],
    )
    answered = {"op": "GE", "value": {"default_value": 200, "runtime_key": "skerry.counted_from"}}
    return {**found, "filter": {"status_code_filter": {"comparison": answered}}}


def _risen(before: int, now: int) -> int:
    """By how much. A counter that is smaller has begun anew."""
    return now - before if now >= before else now
