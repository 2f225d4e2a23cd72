"""NEVER ask for many things one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import Role
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict, counted
from skerry.architecture.rules.repeated import ERROR_CALLS, WARN_CALLS, Repeated, repeated
from skerry.architecture.rules.waiting import REMOTE, SHOWN, Asked, shown, unread, waits
from skerry.architecture.source import Place

_OVER: Final = "items"


class Chatty:
    """A request that asks another service once for each item that it has."""

    name = "chatty"
    why = (
        "Twenty items are twenty round trips: the time adds up, each has its own chance to fail, and the peer's load grows with "
        "the length of a list that nobody limits."
    )
    fix = (
        "Ask once for all of them: a batch endpoint (`GET /items?ids=...`, `GetMany`), or keep a local copy that events feed "
        "(skerry: `@service.on`, projections). Where the peer cannot be changed, put the loop into one gateway near it and bound "
        "how many calls run at once."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """One finding for each call in a loop; then each service's clean or unknown verdict."""
        found = waits(subject)
        asked = [each for each in found.asked if each.call.kind in REMOTE and each.call.role is Role.REQUEST]
        seen, traces = repeated(subject)
        groups: dict[Place, list[Asked]] = defaultdict(list)
        for each in asked:
            for loop in () if _itself(each) else (each.call.loop, *each.call.repeated):
                if loop and loop.over == _OVER and loop.varies:
                    groups[loop.place].append(each)
        blamed: set[str] = set()
        for place, calls in sorted(groups.items()):
            blamed.add(calls[0].service)
            yield self._violation(calls[0], place, seen)
        for one in seen:
            if not one.told:
                blamed.add(one.service)
                yield self._runtime(one)
        for name in sorted(subject.model.services) or [""]:
            if name not in blamed and found.read.get(name):
                yield self._clean(name, [each for each in asked if each.service == name], found.read[name], traces)
        yield from unread(subject, self.name, found.read, blamed)

    def _violation(self, asked: Asked, place: Place, seen: list[Repeated]) -> Finding:
        call = asked.call
        observed = [one for one in seen if (one.service, one.peer) == (asked.service, asked.peer) and asked.peer]
        for one in observed:
            one.told = True
        worst = max((one.often for one in observed), default=0)
        peer = f" {asked.whom}" if asked.peer else " another service"
        text = f"{call.function or 'the module'} asks{peer} once for each item of a loop: {call.text or shown(call)}"
        if worst:
            text += f"; traces show {worst} calls for one request"
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if worst >= ERROR_CALLS else Severity.WARNING,
            services=tuple(name for name in (asked.service, asked.peer if asked.inside else "") if name),
            message=text,
            place=place,
            evidence=(asked.said, *_around(asked, place), *(one.evidence for one in observed)),
            key=f"{call.function}:{call.operation}:{call.path or asked.peer}",
        )

    def _runtime(self, seen: Repeated) -> Finding:
        text = (
            f"{seen.service} asked {seen.peer} up to {seen.most} times for one {seen.request} ({seen.what}), in {seen.traces} "
            f"traces; {seen.often} times at the 95th percentile"
        )
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if seen.often >= ERROR_CALLS else Severity.WARNING,
            services=(seen.service, seen.peer) if seen.inside else (seen.service,),
            message=text,
            place=seen.place,
            evidence=(seen.evidence,),
            key=f"trace:{seen.service}:{seen.peer}:{seen.what}",
        )

    def _clean(self, name: str, calls: list[Asked], files: int, traces: int) -> Finding:
        looped = [each for each in calls if each.call.loop is not None]
        ways = sorted({each.call.loop.over for each in looped if each.call.loop})
        text = f"none of {counted(len(calls), 'call')} is made for each item of a loop"
        if not calls:
            text = f"no request asks another service in {counted(files, 'file')}"
        elif looped:
            text += f"; {len(looped)} are repeated for {', '.join(ways)}, which is meant"
        if traces:
            text += f"; no request of {traces} traces asked the same {WARN_CALLS} times"
        evidence = tuple(each.said for each in (looped or calls)[:SHOWN]) or (Evidence(text, Source.CODE),)
        return Finding(
            rule=self.name,
            verdict=Verdict.CLEAN,
            services=(name,) if name else (),
            message=f"{name}: {text}" if name else text,
            place=evidence[0].place,
            evidence=evidence,
            key=name,
        )


chatty: Chatty = Chatty()


def _itself(each: Asked) -> bool:
    return each.inside and each.peer == each.service


def _around(asked: Asked, place: Place) -> list[Evidence]:
    """Where the loop is, when it is around a call of the function that asks."""
    return [Evidence("the loop that calls it", Source.CODE, place)] if place != asked.call.place else []
