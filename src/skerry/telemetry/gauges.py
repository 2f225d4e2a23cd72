"""What is read when somebody asks, at no cost until then: how full the limits of this process are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from skerry.resilience import AdaptiveLimit, Bulkhead
from skerry.resilience._fork import living

Limits = Iterable[AdaptiveLimit | Bulkhead]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric, by policy: the sum of what `of` says of each limit of that name, where several policies have one."""

    name: str
    unit: str
    text: str
    of: Callable[[AdaptiveLimit | Bulkhead], int]

    @property
    def prometheus(self) -> str:
        """Its name there."""
        return self.name.replace(".", "_")

    def read(self) -> dict[str, int]:
        """As of now, by the name of the policy, or of the service for the limit that it has on requests."""
        found: Counter[str] = Counter()
        for each in living():
            if isinstance(each, AdaptiveLimit | Bulkhead):
                found[each.name] += self.of(each)
        return dict(found)


def _most(limit: AdaptiveLimit | Bulkhead) -> int:
    return limit.limit if isinstance(limit, AdaptiveLimit) else limit.max_concurrent


GAUGES: Final[Sequence[Gauge]] = (
    Gauge("skerry.calls_in_flight", "{call}", "Calls and requests under way.", lambda limit: limit.active),
    Gauge("skerry.calls_waiting", "{call}", "Calls and requests that wait for a place.", lambda limit: limit.waiting),
    Gauge("skerry.limit", "{call}", "Calls and requests let run at once.", _most),
)
