"""Calls in traces that took longer than anybody waits and did not give up."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.facts import Bound
from skerry.architecture.joining.exchanges import Exchange, Way, exchanges
from skerry.architecture.joining.names import Names
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Subject
from skerry.architecture.rules.waiting import Asked
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import SpanKind

BUDGET: Final = 30.0
"""Seconds; a caller that has waited so long for an answer has no limit that anybody chose."""
_MEANT: Final = re.compile(
    r"(?:^|[^a-z])(?:poll|polling|longpoll\w*|wait\w*|watch\w*|stream\w*|subscri\w*|listen\w*|sse|wss?|websockets?|receive\w*|"
    r"consume|b[lr]pop|b[lr]popl?push|xread\w*|uploads?|downloads?)(?:[^a-z]|$)",
    re.IGNORECASE,
)
_NEWS: Final = re.compile(r"(?:^|[^a-z])(?:events?|updates?|changes|feed)(?:[^a-z]|$)", re.IGNORECASE)
_ASKS_TO_WAIT: Final = re.compile(r"[?&](?:wait|timeout|timeout_?seconds|watch|poll|block|hold)=", re.IGNORECASE)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GAVE_UP: Final = re.compile(r"time.?out|timed.?out|deadline|cancel", re.IGNORECASE)


@dataclass(slots=True)
class Endless:
    """Calls of one kind between two services of which some were far too long."""

    service: str
    peer: str
    inside: bool
    what: str
    place: Place
    longest: float
    count: int
    of: int
    served: bool
    """Whether a request waited for it."""
    limit: float = 0.0
    """Seconds that the code of the caller allows; 0 where that is not known."""
    told: bool = False
    """It was told together with the code that it is of."""
    budget: float = BUDGET

    @property
    def evidence(self) -> Evidence:
        """What was seen."""
        text = f"{self.service} waited {self.longest:.1f} s for {self.peer}: {self.what}, and did not give up"
        return Evidence(text, Source.TRACE, self.place)

    def meets(self, call: Asked) -> bool:
        """Whether it is of that call in the code, as far as the two ends tell."""
        return call.service == self.service and bool(call.peer) and call.peer == self.peer


def endless(subject: Subject) -> list[Endless]:
    """Each (caller, peer, what) once; calls that are meant to last are left out."""
    if subject.traces is None:
        return []
    groups: dict[tuple[str, str, str], list[Exchange]] = defaultdict(list)
    for _, calls in exchanges(subject.traces, Names(subject.model.services)):
        for each in calls:
            if each.way is not Way.MESSAGE and not _meant(each):
                groups[each.caller, each.peer, each.what].append(each)
    limits = _limits(subject)
    found = []
    for (caller, peer, what), calls in sorted(groups.items()):
        long = [each for each in calls if each.seconds > BUDGET and not each.span.error]
        if not long or any(_gave_up(each) for each in calls):
            continue
        if all(each.way is Way.DATABASE for each in long) and not any(_served(each) for each in long):
            continue  # a report that runs at night is a long statement and no fault
        worst = max(long, key=lambda each: each.seconds)
        found.append(
            Endless(
                service=caller,
                peer=peer or "a peer without a name",
                inside=worst.inside,
                what=what,
                place=Place(worst.span.file, worst.span.line),
                longest=worst.seconds,
                count=len(long),
                of=len(calls),
                served=any(_served(each) for each in long),
                limit=limits.get((caller, peer), 0.0),
            )
        )
    return found


def _meant(each: Exchange) -> bool:
    said = each.span.attributes
    words = (
        f"{each.span.name} {each.what} {said.get('db.operation.name', '')} {said.get('messaging.operation.type', '')}"
    )
    words = _CAMEL.sub(" ", words)
    if _MEANT.search(words) or _ASKS_TO_WAIT.search(each.url) or str(said.get("http.response.status_code")) == "101":
        return True
    return each.what.startswith("GET ") and bool(_NEWS.search(each.what))


def _gave_up(each: Exchange) -> bool:
    """Whether the caller has a limit: another call of the kind was ended by it."""
    said = each.span.attributes
    words = " ".join(str(said.get(name, "")) for name in ("error.type", "exception.type", "status.message"))
    status = str(said.get("rpc.grpc.status_code", ""))
    return each.span.error and each.seconds > BUDGET and (bool(_GAVE_UP.search(words)) or status == "4")


def _served(each: Exchange) -> bool:
    return each.entry is not None and each.entry.kind is SpanKind.SERVER


def _limits(subject: Subject) -> dict[tuple[str, str], float]:
    """By (caller, peer): the longest limit in the code, where every call that is known there has one."""
    found: dict[tuple[str, str], float] = {}
    for edge in subject.model.edges:
        if (
            edge.waits
            and edge.calls
            and all(call.timeout.bound in {Bound.BOUNDED, Bound.DEFAULT} for call in edge.calls)
        ):
            found[edge.caller, edge.callee] = max(call.timeout.seconds or 0.0 for call in edge.calls)
    return found
