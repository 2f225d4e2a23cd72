"""Times in traces in which a peer failed, and what its callers did meanwhile."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skerry.architecture.joining.exchanges import Exchange, Way, exchanges
from skerry.architecture.joining.names import Names
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Subject
from skerry.architecture.source import Place

LASTS: Final = 10.0
"""Seconds; every usual breaker has opened by then."""
CALLS: Final = 6
"""Failed calls in a row, at least; a breaker opens after five or so."""
SLOW: Final = 15.0
"""Seconds between two calls; whoever asks more rarely asks no more often than a breaker's probes."""
KEPT: Final = 0.6
"""Share of the former rate that is still asked; probes of an open breaker are far below."""
_DOWN: Final = 0.9
"""Share of calls that fail while a peer is down."""
_OPEN: Final = re.compile(r"circuit|breaker|(?:^|\W)open(?:$|\W)|not_?permitted|short.?circuit", re.IGNORECASE)


@dataclass(slots=True)
class Outage:
    """One time in which every call of `service` to `peer` failed and the calls went on."""

    service: str
    peer: str
    inside: bool
    place: Place
    lasted: float
    failed: int
    before: float
    """Calls a second."""
    then: float
    told: bool = False

    @property
    def evidence(self) -> Evidence:
        """What was seen."""
        text = f"{self.failed} calls of {self.service} to {self.peer} failed in a row within {self.lasted:.0f} s"
        return Evidence(text, Source.TRACE, self.place)


def outages(subject: Subject) -> list[Outage]:
    """The worst of each pair of caller and peer."""
    if subject.traces is None:
        return []
    groups: dict[tuple[str, str], list[Exchange]] = defaultdict(list)
    for _, calls in exchanges(subject.traces, Names(subject.model.services)):
        for each in calls:
            if each.way in {Way.HTTP, Way.RPC, Way.OTHER} and each.peer and each.peer != each.caller:
                groups[each.caller, each.peer].append(each)
    found = []
    for _, calls in sorted(groups.items()):
        those = [one for run in _runs(calls) if (one := _outage(calls, run)) is not None]
        if those:
            found.append(max(those, key=lambda one: one.lasted))
    return found


def _runs(calls: list[Exchange]) -> Iterator[list[Exchange]]:
    """Failures that follow each other: without a success between them, and with hardly one.

    Tries that go well in the end are many failures with a success after every few; they are no outage.
    """
    calls.sort(key=lambda each: each.span.start)
    strict: list[Exchange] = []
    loose: list[Exchange] = []
    good = between = 0
    for each in calls:
        if each.failed and not _stopped(each):
            strict.append(each)
            loose.append(each)
            between, good = between + good, 0
        elif not each.failed:
            yield strict
            strict, good = [], good + 1
            if good > 1:
                if between <= (1 - _DOWN) * len(loose):
                    yield loose
                loose, between = [], 0
    yield strict
    if between <= (1 - _DOWN) * len(loose):
        yield loose


def _outage(calls: list[Exchange], run: list[Exchange]) -> Outage | None:
    if len(run) < CALLS:
        return None
    first, last = run[0].span, run[-1].span
    lasted = last.start - first.start
    if lasted < LASTS or lasted / len(run) > SLOW:
        return None
    # what a breaker lets through first is not counted: of a run only its second half shows whether anything stopped
    middle = first.start + lasted / 2
    late = sum(each.span.start >= middle for each in run)
    then = late / (lasted / 2)
    before = _rate_before(calls, run)
    if late < CALLS // 2 or then < KEPT * before:
        return None
    return Outage(
        service=run[0].caller,
        peer=run[0].peer,
        inside=run[0].inside,
        place=Place(first.file, first.line),
        lasted=lasted,
        failed=len(run),
        before=before,
        then=then,
    )


def _rate_before(calls: list[Exchange], run: list[Exchange]) -> float:
    """Calls a second while all was well; else at the beginning of the outage, before a breaker would have opened."""
    start = run[0].span.start
    earlier = [each.span.start for each in calls if each.span.start < start]
    if len(earlier) >= CALLS and start > earlier[0]:
        return len(earlier) / (start - earlier[0])
    opening = run[: CALLS // 2 + 1]
    length = opening[-1].span.start - start
    return (len(opening) - 1) / length if length > 0 else 0.0


def _stopped(each: Exchange) -> bool:
    """An error that a breaker made: nobody was asked."""
    said = each.span.attributes
    return any(_OPEN.search(str(said.get(name, ""))) for name in ("error.type", "exception.type", "status.message"))
