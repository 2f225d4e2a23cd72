"""How many requests a route takes, for each peer, each verified subject or all together, in one worker.

The generic cell rate algorithm (ITU-T I.371) keeps one number for each key: when its bucket is full again. Unlike
`skerry.resilience.RateLimit` nobody waits here and nobody else has a thread, so there is neither a lock nor a queue; and unlike
there, keys come from strangers, so what is forgotten may not be theirs to choose.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import RateSpec
from skerry.service.problem import Problem

Key = str | bytes

MAX_KEYS = 65_536
"""Keys that have a bucket of their own at one time. About 10 MiB when all are in use."""
SHARED = 4_096
"""Buckets for all keys beyond those."""
MAX_ADDRESS = 64
"""Characters of an address that count: more has only what is none."""
_SHORTEST = 1.0
"""Seconds between two times of forgetting, at least."""
_EARLY = 1e-9
"""Seconds that a request may be early, so that who comes exactly in time is not refused for a last digit."""


class Limiter:
    """Lets `requests` in `per` seconds through for each key, `burst` of them at once (`requests`, unless given).

    The table is bounded, and yet nobody gets a full bucket by being forgotten: one that was not used for as long as an empty
    bucket takes to fill is full anyway, and only such are forgotten. When more than `MAX_KEYS` are in use, further keys share
    buckets, by a hash that nobody outside can foresee: under an attack from so many addresses newcomers may be refused, and
    nobody who is blocked comes free. For one event loop; it takes no lock.

    Example: `wait = limiter.take(peer_key(address))`, and when `wait` is not 0.0, `raise refused(wait)`.
    """

    __slots__ = ("_fill", "_interval", "_monotonic", "_old", "_shared", "_slack", "_turn_over", "_young", "spec")

    def __init__(self, spec: RateSpec, clock: Clock = SYSTEM) -> None:
        if spec.requests < 1 or not 0 < spec.per < math.inf or (spec.burst is not None and spec.burst < 1):
            raise ConfigurationError("rate: requests and burst are whole numbers from 1, per is seconds above 0")
        self.spec: RateSpec = spec
        self._monotonic: Callable[[], float] = clock.monotonic
        burst = spec.requests if spec.burst is None else spec.burst
        self._interval = spec.per / spec.requests
        self._slack = (burst - 1) * self._interval + _EARLY
        self._fill = max(burst * self._interval, _SHORTEST)
        # when the bucket of each key is full again; keys unused since the last turn-over are only in `old`
        self._young: dict[Key, float] = {}
        self._old: dict[Key, float] = {}
        self._shared: dict[int, float] = {}
        self._turn_over = self._monotonic() + self._fill

    def take(self, key: Key = "") -> float:
        """Use a token of `key`: 0.0 when there was one, else the seconds until there is, none being used. Never waits."""
        now = self._monotonic()
        if now >= self._turn_over:
            self._forget(now)
        young = self._young
        full = young.get(key)
        if full is None:
            full = self._old.pop(key, None)
            if full is None:
                if len(young) + len(self._old) >= MAX_KEYS:
                    return self._take_shared(hash(key) % SHARED, now)
                full = now
        wait = full - self._slack - now
        if wait > 0.0:
            young[key] = full
            return wait
        young[key] = max(full, now) + self._interval
        return 0.0

    def _take_shared(self, slot: int, now: float) -> float:
        full = self._shared.get(slot, now)
        wait = full - self._slack - now
        if wait > 0.0:
            return wait
        self._shared[slot] = max(full, now) + self._interval
        return 0.0

    def _forget(self, now: float) -> None:
        # whoever is in `old` alone took nothing since the last turn-over, a whole filling time ago: those buckets are full
        self._old = self._young if now < self._turn_over + self._fill else {}
        self._young = {}
        self._shared = {slot: full for slot, full in self._shared.items() if full > now}
        self._turn_over = now + self._fill


def peer_key(address: str) -> Key:
    """The key of a peer: an IPv4 address as it is, of an IPv6 address its /64, for one customer has all of that.

    An IPv4 address written as IPv6 is the IPv4 address. What is no address, such as the name of a socket, is its own key.
    """
    if ":" not in address:
        return address[:MAX_ADDRESS]
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # the second for what is no text of an address at all
        return address[:MAX_ADDRESS]
    if packed.startswith(b"\0\0\0\0\0\0\0\0\0\0\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8]


def refused(wait: float) -> Problem:
    """The answer when `Limiter.take` said to wait: 429 and `Retry-After`, in whole seconds, from 1."""
    seconds = b"%d" % max(1, math.ceil(wait))
    detail = "These were too many requests in too short a time."
    return Problem(429, "rate_limited", detail, headers=[(b"retry-after", seconds)])
