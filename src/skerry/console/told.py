"""What the services have told of themselves by signals, as log records: breakers, lags, and what changed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.console.bounded import put
from skerry.console.facts import BreakerFact
from skerry.console.heard import Record
from skerry.console.window import Window

PREFIX: Final = "skerry."
MAX_CHANGES: Final = 100
MAX_BREAKERS: Final = 400
MAX_LAGS: Final = 200
MAX_STATES: Final = 200
MAX_TEXT: Final = 240
LAG_KEPT: Final = 60.0
"""Seconds that a lag counts: a group tells of it every fifteen."""
_BREAKERS: Final = {"open": "open", "isolated": "open", "half_open": "half_open"}
_WORST: Final = ("isolated", "open", "half_open", "closed")
TOGETHER: Final = 30.0
"""Seconds between two migrations that are told in one line."""
ONE_START: Final = 5.0
"""Seconds between what a service tells of its start and what its supervisor sees of it, at most."""
RESTARTED: Final = "was restarted"
_READY: Final = "is ready"
_SHED: Final = frozenset({"overloaded", "expired", "event_loop_lag", "bulkhead_full", "rate_limited"})

Fields = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of what changed. `kind` is a word by which it can be marked."""

    at: float
    service: str
    kind: str
    text: str

    def as_dict(self) -> dict[str, object]:
        """As the console's API tells it."""
        return {"at": self.at, "service": self.service, "kind": self.kind, "text": self.text}


class Told:
    """Keeps the last of each breaker and group, and the last hundred changes."""

    def __init__(self, window: Window, *, clock: Clock = SYSTEM) -> None:
        self._window = window
        self._clock = clock
        self.breakers: OrderedDict[tuple[str, str], BreakerFact] = OrderedDict()
        self.states: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """Services by what they told of their own life, and when."""
        self._lags: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._changes: deque[Change] = deque(maxlen=MAX_CHANGES)
        self._migrations: OrderedDict[str, tuple[int, Change | None]] = OrderedDict()
        """The last line about migrations of each service, and how many it is about."""

    def add(self, records: Iterable[Record]) -> None:
        """Take log records in; those that are no signal count for nothing."""
        for record in records:
            name = record.event.removeprefix(PREFIX)
            if name != record.event:
                self._hear(name, record)

    def note(self, service: str, kind: str, text: str, *, at: float) -> None:
        """Something changed that the console has seen for itself."""
        self._changes.append(Change(at, service, kind, text[:MAX_TEXT]))

    def note_start(self, service: str, text: str, *, at: float) -> None:
        """The supervisor saw a service become ready: one line, also where the service itself has told of that start."""
        change, last = Change(at, service, "state", text[:MAX_TEXT]), self._last_state(service, at)
        if last is not None and last.text == _READY:
            self._changes[self._changes.index(last)] = change  # who looks from outside says also what was before
        else:
            self._changes.append(change)

    def changes(self) -> list[Change]:
        """The newest first."""
        return sorted(self._changes, key=lambda change: change.at, reverse=True)

    def towards(self) -> dict[tuple[str, str], BreakerFact]:
        """The breaker between two services: of those that a gateway has, `ROUTE -> SERVICE` each, the worst."""
        found: dict[tuple[str, str], BreakerFact] = {}
        for (service, policy), fact in self.breakers.items():
            key = (service, policy.rpartition(" -> ")[2])
            known = found.get(key)
            if known is None or _WORST.index(fact.state) < _WORST.index(known.state):
                found[key] = fact
        return found

    def lag(self, service: str) -> int | None:
        """How many events the groups of a service have before them; None when none has told for a minute."""
        now = self._clock.now()
        found = [lag for (of, _), (lag, at) in self._lags.items() if of == service and now - at <= LAG_KEPT]
        return sum(found) if found else None

    @property
    def size(self) -> int:
        """Things in memory."""
        last = len(self.breakers) + len(self.states) + len(self._lags) + len(self._migrations)
        return last + len(self._changes)

    def _hear(self, name: str, record: Record) -> None:
        now = self._clock.now()
        at = record.at if now - 900 < record.at <= now + 60 else now  # a clock of somebody else decides nothing here
        fields = record.fields
        if name == "breaker_changed":
            policy, state = str(fields.get("policy", "")), _BREAKERS.get(str(fields.get("after")), "closed")
            before = self.breakers.get((record.service, policy))
            lasts = before is not None and "closed" not in {before.state, state}
            # one that tries again and fails has been open all the time
            since = before.since if lasts and before is not None else at
            fact = BreakerFact(service=record.service, policy=policy, state=state, since=since)
            put(self.breakers, (record.service, policy), fact, MAX_BREAKERS)
        elif name == "consumer_lag":
            put(self._lags, (record.service, str(fields.get("group", ""))), (_whole(fields.get("lag")), now), MAX_LAGS)
        elif name == "service_changed":
            put(self.states, record.service, (str(fields.get("state", "")), at), MAX_STATES)
        elif name == "retry_planned":
            self._count(record.service, now, retries=1)
        elif name == "call_refused" and fields.get("reason") in _SHED:
            self._count(record.service, now, shed=1)
        text = _said(name, fields, record.level)
        if name == "migration_applied":
            self._migrated(record.service, text, at)
        elif text and not (text == _READY and self._is_seen(record.service, at)):
            self._changes.append(Change(at, record.service, _kind(name), text[:MAX_TEXT]))

    def _last_state(self, service: str, at: float) -> Change | None:
        """The last line about the state of a service, where it may be about what happened at `at`."""
        lines = (each for each in reversed(self._changes) if each.service == service and each.kind == "state")
        last = next(lines, None)
        return last if last is not None and abs(last.at - at) <= ONE_START else None

    def _is_seen(self, service: str, at: float) -> bool:
        """Whether the supervisor has told of that start already."""
        last = self._last_state(service, at)
        return last is not None and (last.text.endswith("-> ready") or last.text == RESTARTED)

    def _migrated(self, service: str, text: str, at: float) -> None:
        """Migrations of a service that come together are one change: a first start applies a dozen of them."""
        count, last = self._migrations.get(service, (0, None))
        together = last is not None and at - last.at <= TOGETHER and last in self._changes
        if together and last is not None:
            self._changes.remove(last)
            text = f"{count + 1} migrations applied"
        change = Change(at, service, _kind("migration_applied"), text[:MAX_TEXT])
        self._changes.append(change)
        put(self._migrations, service, (count + 1 if together else 1, change), MAX_STATES)

    def _count(self, service: str, now: float, *, retries: int = 0, shed: int = 0) -> None:
        series = self._window.series(service)
        if series is not None:
            series.note(now, retries=retries, shed=shed)


def _breaker(fields: Fields) -> str:
    if fields.get("after") == "half_open" or (fields.get("before"), fields.get("after")) == ("half_open", "open"):
        return ""  # that it tries again, once a second, is no news: what it comes to is
    return f"breaker {fields.get('policy')} {fields.get('before')} -> {fields.get('after')}: {fields.get('reason')}"


def _saga(fields: Fields) -> str:
    status = fields.get("status")
    if status not in {"stuck", "compensating"}:
        return ""  # what goes as it should is no news
    reason = f": {fields['reason']}" if fields.get("reason") else ""
    return f"saga {fields.get('saga')} {fields.get('key')} is {status}{reason}"


def _health(fields: Fields) -> str:
    reason = f": {fields['reason']}" if fields.get("reason") else ""
    return f"check {fields.get('check')} {fields.get('before')} -> {fields.get('after')}{reason}"


def _outbox(fields: Fields) -> str:
    full = fields.get("full")
    return f"outbox is full: {fields.get('waiting')} events wait" if full else "outbox has room again"


def _ramp(fields: Fields) -> str:
    return (
        f"route {fields.get('route')}: {fields.get('verdict')}, {fields.get('before')} -> {fields.get('after')} %"
        f" by {fields.get('by')}: {fields.get('reason')}"
    )


def _parked(fields: Fields) -> str:
    return "" if fields.get("held") else f"dead letter of {fields.get('type')}: {fields.get('reason')}"


_TEXTS: Final[Mapping[str, Callable[[Fields], str]]] = {
    "breaker_changed": _breaker,
    "event_parked": _parked,
    # that we were not reached is no news by the time that we hear of it; what was lost is
    "export_changed": lambda f: f"{f['dropped']} spans and signals never came" if f.get("dropped") else "",
    "gateway_reloaded": lambda f: (
        f"specification refused: {f['error']}" if f.get("error") else "specification reloaded"
    ),
    "health_changed": _health,
    "instance_ejected": lambda f: f"instance of {f.get('service')} left alone: {f.get('reason')}",
    "migration_applied": lambda f: f"migration {f.get('version')} of {f.get('component')} applied",
    "outbox_changed": _outbox,
    "projection_changed": lambda f: f"projection {f.get('projection')} version {f.get('version')} is {f.get('state')}",
    "ramp_changed": _ramp,
    "relay_failed": lambda f: f"relay cannot hand over: {f.get('error')}",
    "saga_changed": _saga,
    # that it starts is no news: what it comes to is
    "service_changed": lambda f: "" if f.get("state") == "starting" else f"is {f.get('state')}",
}
_QUIET: Final = frozenset({"retry_planned", "call_refused", "consumer_lag", "handler_failed", "saga_step_failed"})
"""Told by counts, or by what comes of them."""
_KINDS: Final = {"service_changed": "state", "process_changed": "state", "migration_applied": "deploy"}


def _said(name: str, fields: Fields, level: str) -> str:
    if name in _TEXTS:
        return _TEXTS[name](fields)
    if name in _QUIET or level not in {"warn", "warning", "error"}:
        return ""
    error = fields.get("error") or fields.get("reason")
    return name.replace("_", " ") + (f": {error}" if error else "")


def _kind(name: str) -> str:
    return _KINDS.get(name, name.partition("_")[0])


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
