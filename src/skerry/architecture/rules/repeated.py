"""Equal calls in traces that one request made, one for each item of something."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

from skerry.architecture.joining.exchanges import Exchange, Way, exchanges, route_of
from skerry.architecture.joining.names import Names
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Subject
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span, SpanKind

WARN_CALLS: Final = 5
ERROR_CALLS: Final = 20
_PAUSE: Final = 0.2
"""Seconds; who rests so long between two equal questions waits for the answer to change."""
_STATE: Final = re.compile(
    r"(?:^|[^a-z])(?:status(?:es)?|state|poll|polling|ready|readiness|health\w*|progress|wait|alive|liveness|ping)(?:[^a-z]|$)",
    re.IGNORECASE,
)
_PAGE: Final = re.compile(
    r"(?:^|[_.-])(?:page(?:_?(?:no|number|token))?|offset|cursor|after|before|start|skip|from|marker|continuation\w*|next\w*|since)=",
    re.IGNORECASE,
)
_JOB: Final = re.compile(
    r"(?:^|[^a-z])(?:cron|job|batch|task|schedul\w*|worker|nightly|hourly|daily|import|export|sync|celery|consume\w*|backfill|reindex)"
    r"(?:[^a-z]|$)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Repeated:
    """One question that requests of a service ask many times."""

    service: str
    peer: str
    inside: bool
    what: str
    request: str
    """The name of the span that they are below."""
    place: Place
    counts: list[int] = field(default_factory=list)
    """For each request that asked it at all."""
    told: bool = False

    @property
    def most(self) -> int:
        """The most that one request asked."""
        return max(self.counts)

    @property
    def often(self) -> int:
        """The 95th percentile over the requests that ask it."""
        ordered = sorted(self.counts)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]

    @property
    def traces(self) -> int:
        """Requests with too many of them."""
        return sum(count >= WARN_CALLS for count in self.counts)

    @property
    def evidence(self) -> Evidence:
        """What was seen."""
        text = f"{self.most} calls {self.what} to {self.peer} below one span {self.request} of {self.service}"
        return Evidence(text, Source.TRACE, self.place)


def repeated(subject: Subject) -> tuple[list[Repeated], int]:
    """What is asked five times and more below one span, and how many traces were looked at."""
    if subject.traces is None:
        return [], 0
    found: dict[tuple[str, str, str, str], Repeated] = {}
    for _, calls in exchanges(subject.traces, Names(subject.model.services)):
        spans = _parents(subject, calls)
        groups: dict[tuple[str, str, str, str], list[Exchange]] = defaultdict(list)
        for each in calls:
            above = each.entry or spans.get(each.span.parent)
            if each.way in {Way.HTTP, Way.RPC, Way.OTHER} and each.peer and _served(each, above):
                groups[_below(each), each.caller, each.peer, each.what].append(each)
        for (_, caller, peer, what), those in groups.items():
            count = _asked(those)
            above = those[0].entry or spans.get(those[0].span.parent)
            request = _named(above)
            one = found.get((caller, peer, what, request))
            if one is None:
                first = those[0]
                place = Place(first.span.file, first.span.line)
                one = found[caller, peer, what, request] = Repeated(caller, peer, first.inside, what, request, place)
            elif count > max(one.counts, default=0):
                one.place = Place(those[0].span.file, those[0].span.line)
            one.counts.append(count)
    return [one for _, one in sorted(found.items()) if one.most >= WARN_CALLS], len(subject.traces.traces)


def _parents(subject: Subject, calls: list[Exchange]) -> dict[str, Span]:
    traces = subject.traces
    spans = traces.traces.get(calls[0].span.trace, ()) if traces is not None and calls else ()
    return {span.span: span for span in spans}


def _below(each: Exchange) -> str:
    return each.entry.span if each.entry is not None else each.span.parent or each.span.span


def _served(each: Exchange, above: Span | None) -> bool:
    """A request's; what a consumer or a job does for each of many things is its work."""
    if each.entry is not None:
        return each.entry.kind is SpanKind.SERVER
    return bool(each.span.parent) and (above is None or not _JOB.search(f"{above.name} {above.service}"))


def _named(above: Span | None) -> str:
    if above is None:
        return "request"
    route = above.attributes.get("http.route")
    method = above.attributes.get("http.request.method", "")
    return f"{method} {route}".strip() if route else re.sub(r"\d+", "{}", above.name)


def _asked(calls: list[Exchange]) -> int:
    """How many different things were asked for: tries, polls and pages of one thing are one."""
    times = Counter(each.url for each in calls)
    # a call that failed and is made again is a try; its like that went well is counted
    kept = [
        each
        for each in calls
        if (not each.span.error or times[each.url] == 1) and not each.span.attributes.get("http.request.resend_count")
    ]
    if len(kept) < WARN_CALLS:
        return len(kept)
    urls = {each.url for each in kept}
    if len(urls) == 1:
        return 1 if _polled(kept) else len(kept)
    if _paged(urls):
        return 1
    return len(kept)


def _polled(calls: list[Exchange]) -> bool:
    """One question again and again with a rest between, or one that asks for a state."""
    if any(_STATE.search(f"{each.what} {each.span.name}") for each in calls):
        return True
    ordered = sorted(calls, key=lambda each: each.span.start)
    rest = median([later.span.start - each.span.end for each, later in pairwise(ordered)])
    # without a URL it may have been another question each time: a rest has to be longer than the work then
    return rest >= _PAUSE and (bool(ordered[0].url) or rest >= 2 * median([each.seconds for each in ordered]))


def _paged(urls: set[str]) -> bool:
    """Whether they are pages of one list: one path, and what differs is which page."""
    queries = [url.partition("?")[2] for url in urls]
    same = len({route_of({"url.full": url}) for url in urls}) == 1 and len({url.partition("?")[0] for url in urls}) == 1
    return same and sum(any(_PAGE.match(part) for part in query.split("&")) for query in queries) >= len(urls) - 1
