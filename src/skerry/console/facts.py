"""What is known of a system at one moment: what the first screen shows, and what its sentence is worked out from.

Times are seconds since 1970, durations seconds, shares 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["service", "gateway", "external"]
State = Literal["ready", "starting", "unready", "down", "held", "unknown"]
EdgeKind = Literal["call", "event"]
Level = Literal["ok", "warn", "down"]
_STATES: Final[Mapping[str, State]] = {
    "ready": "ready",
    "starting": "starting",
    "running": "unready",
    "crashed": "down",
    "stopping": "down",
    "stopped": "down",
    "held": "held",
    "draining": "down",
    "unready": "unready",
    "down": "down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFact:
    """One service as it is now.

    `rate` is requests a second, `errors` the share of them that fails and `failures` their number, of the last seconds; None
    where only shares are known. `flaps` is how often it has stopped being ready lately. `since` is of the state,
    `failing_since` of the errors. `store` is False when its database cannot be asked, None when nobody has tried.
    """

    name: str
    kind: Kind = "service"
    state: State = "unknown"
    since: float | None = None
    rate: float = 0.0
    errors: float = 0.0
    failures: int | None = None
    flaps: int = 0
    store: bool | None = None
    store_since: float | None = None
    failing_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeFact:
    """Calls or events from one service to another; `rate` and `errors` as in `ServiceFact`, None of what was only declared."""

    source: str
    target: str
    kind: EdgeKind = "call"
    rate: float | None = None
    errors: float = 0.0
    failures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerFact:
    """A circuit breaker: whose it is, which policy it belongs to, and its state since when."""

    service: str
    policy: str
    state: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxFact:
    """Committed events of a service that wait to be handed over, and how long the oldest has."""

    service: str
    rows: int
    oldest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFact:
    """How many sagas there are in each status that is no end."""

    running: int = 0
    compensating: int = 0
    stuck: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the sentence is worked out from. `dead` counts dead letters, None where no database was asked.

    `stopping` is since when the whole system stops because it was told to, None when it does not.
    """

    at: float
    services: tuple[ServiceFact, ...] = ()
    edges: tuple[EdgeFact, ...] = ()
    breakers: tuple[BreakerFact, ...] = ()
    outboxes: tuple[OutboxFact, ...] = ()
    sagas: SagaFact | None = None
    dead: int | None = None
    stopping: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What is wrong, in one sentence: `subject` the service it comes from, `damage` what users notice, `safe` what is kept."""

    level: Level
    text: str
    subject: str | None = None
    since: float | None = None
    damage: str = ""
    safe: str = ""

    def as_dict(self) -> dict[str, object]:
        """As the console's API tells it."""
        return {
            "level": self.level,
            "text": self.text,
            "subject": self.subject,
            "since": self.since,
            "damage": self.damage,
            "safe": self.safe,
        }


def state_of(word: str) -> State:
    """The console's word for the state of a process, as `skerry ps` has it, or of a service's own life."""
    return _STATES.get(word, "unknown")


def stopping_since(processes: Iterable[Mapping[str, Any]]) -> float | None:
    """Since when a system stops, None when it does not: its supervisor ends no process for good before that."""
    ending = (process for process in processes if process.get("state") in {"stopping", "stopped"})
    return min((float(process.get("since") or 0.0) for process in ending), default=None)
