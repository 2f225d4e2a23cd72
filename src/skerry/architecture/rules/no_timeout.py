"""NEVER wait without a limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import Bound, Kind, Role
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.endless import Endless, endless
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict, counted, every
from skerry.architecture.rules.waiting import SHOWN, Asked, seconds, shown, unread, waits
from skerry.architecture.source import Place

_STORES: Final = frozenset({Kind.DATABASE, Kind.CACHE})
_LONG: Final = 60.0
"""Seconds; a limit above it is named, for it hardly protects who waits."""
_IN_SPEC: Final = (
    "Give the policy of the route, or of the defaults, a `total`: the longest that a client of the gateway waits."
)


class NoTimeout:
    """Calls that never end by themselves, by the limit that is in force; and what traces show of them."""

    name = "no-timeout"
    why = (
        "A peer that accepts a connection and then says nothing holds who asked for ever. Each such call keeps a worker, a "
        "connection and the request behind it; a few of them, and the service answers nobody, though it is in perfect health."
    )
    fix = (
        "Give each call what its caller can afford: about twice the peer's p99.9, and less than the caller's own limit "
        "(skerry: `Policy(total=...)`, `deadline`; else `timeout=` at the call or at the client, `asyncio.timeout` around it, "
        "`timeout=` of a gRPC stub). For a database: a connect time-out and a statement time-out."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """One finding for each cause; then each service's clean or unknown verdict."""
        found = waits(subject)
        seen = endless(subject)
        blamed: set[str] = set()
        for calls in _causes([each for each in found.asked if each.call.timeout.bound is Bound.UNBOUNDED]):
            blamed.add(calls[0].service)
            yield self._violation(calls, seen)
        for each in seen:
            if not each.told:
                blamed.add(each.service)
                yield self._runtime(each)
        for name in sorted(subject.model.services):
            yield from self._verdict(name, found.of(name), found.read.get(name, 0), blamed)
        if not subject.model.services:
            yield from self._verdict("", found.of(""), found.read.get("", 0), blamed)
        yield from unread(subject, self.name, found.read, blamed)

    def _violation(self, calls: list[Asked], seen: list[Endless]) -> Finding:
        first = calls[0]
        served = any(each.call.role is Role.REQUEST for each in calls)
        store = first.call.kind in _STORES
        cause = first.call.timeout.place
        places = {each.call.place for each in calls}
        place = cause if len(places) > 1 and cause is not None else first.call.place
        observed = [each for each in seen if any(each.meets(one) for one in calls)]
        for each in observed:
            each.told = True
        why = first.call.timeout.why or f"{first.call.library} has no limit of its own"
        peers = ", ".join(dict.fromkeys(each.whom for each in calls[:SHOWN] if each.peer))
        peer = f" for {peers}" if peers else ""
        text = f"{first.call.function or 'the module'} waits{peer} without a limit ({shown(first.call)}): {why}"
        if len(places) > 1:
            text = f"{len(places)} calls wait{peer} without a limit, for one cause: {why}"
        evidence = list(dict.fromkeys(each.said for each in calls[:SHOWN]))
        if cause is not None and cause not in {each.place for each in evidence}:
            evidence.insert(0, Evidence(why, first.source, cause))
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if served and not store else Severity.WARNING,
            services=tuple(
                dict.fromkeys(n for n in (first.service, *(e.peer for e in calls[:SHOWN] if e.inside)) if n)
            ),
            message=text,
            place=place,
            evidence=(*evidence, *(each.evidence for each in observed)),
            fix=_IN_SPEC if first.source is Source.SPEC else "",
            key=f"{first.call.function}:{first.call.library}:{first.call.operation}:{first.peer or first.call.path}",
        )

    def _runtime(self, seen: Endless) -> Finding:
        limit = f"its limit of {seconds(seen.limit)} did not hold; " if seen.limit else ""
        text = (
            f"{seen.service} waited up to {seen.longest:.0f} s for {seen.peer} ({seen.what}) without giving up, in {seen.count} "
            f"of {seen.of} calls; {limit}more than {seconds(seen.budget)} is longer than anybody waits for an answer"
        )
        return Finding(
            rule=self.name,
            verdict=Verdict.SUSPECT if seen.limit else Verdict.VIOLATION,
            severity=Severity.ERROR if seen.served and not seen.limit else Severity.WARNING,
            services=tuple(dict.fromkeys((seen.service, seen.peer) if seen.inside else (seen.service,))),
            message=text,
            place=seen.place,
            evidence=(seen.evidence,),
            key=f"trace:{seen.service}:{seen.peer}:{seen.what}",
        )

    def _verdict(self, name: str, asked: list[Asked], files: int, blamed: set[str]) -> Iterator[Finding]:
        calls = list({each.call: each for each in asked}.values())
        unknown = [each for each in calls if each.call.timeout.bound is Bound.UNKNOWN]
        services = (name,) if name else ()
        if unknown:
            missing = "; ".join(sorted({each.call.timeout.why for each in unknown if each.call.timeout.why})[:3])
            text = f"{len(unknown)} of {counted(len(calls), 'call')}{f' of {name}' if name else ''} may have no limit"
            yield Finding(
                rule=self.name,
                verdict=Verdict.UNKNOWN,
                message=f"{text}: {missing or 'where their time-out is set was not found'}",
                services=services,
                place=unknown[0].call.place,
                evidence=tuple(each.said for each in unknown[:SHOWN]),
                key=f"unknown:{name}",
            )
        elif name not in blamed and files:
            yield self._clean(name, calls, files, services)

    def _clean(self, name: str, calls: list[Asked], files: int, services: tuple[str, ...]) -> Finding:
        evidence = _limits(calls)
        if calls:
            known = [each.call.timeout.seconds for each in calls if each.call.timeout.seconds is not None]
            span = f", between {seconds(min(known))} and {seconds(max(known))}" if known else ""
            if known and min(known) == max(known):
                span = f", after {seconds(known[0])}"
            text = (
                f"{every(len(calls), 'call')} ends by itself{span}"
                if len(calls) > 1
                else f"its one call ends by itself{span}"
            )
            if known and max(known) > _LONG:
                text += "; the longest is a limit and hardly a protection"
        else:
            text = f"no call waits for anybody in {counted(files, 'file')}"
            evidence = (Evidence(text, Source.CODE),)
        return Finding(
            rule=self.name,
            verdict=Verdict.CLEAN,
            services=services,
            message=f"{name}: {text}" if name else text,
            place=evidence[0].place,
            evidence=evidence,
            key=name,
        )


no_timeout: NoTimeout = NoTimeout()


def _causes(calls: list[Asked]) -> Iterator[list[Asked]]:
    """Calls that one change would mend: of one client that is built without a limit, of one connection."""
    groups: dict[tuple[str, Place | tuple[str, ...]], list[Asked]] = defaultdict(list)
    for each in calls:
        cause = each.call.timeout.place
        if cause is not None and cause != each.call.place:
            groups[each.service, cause].append(each)
        elif each.call.kind in _STORES:
            target = each.call.target
            groups[each.service, (each.call.library, target.url, target.service, *target.variables)].append(each)
        else:
            groups[each.service, each.call.place].append(each)
    yield from sorted(groups.values(), key=lambda group: group[0].call.place)


def _limits(calls: list[Asked]) -> tuple[Evidence, ...]:
    """What bounds the calls, each way once with how many it holds, the longest first."""
    ways: dict[tuple[str, float], list[Asked]] = defaultdict(list)
    for each in calls:
        given = each.call.timeout
        ways[given.why or f"{each.call.library} is given a limit", given.seconds or 0.0].append(each)
    found = []
    for (why, length), group in sorted(ways.items(), key=lambda item: -item[0][1]):
        limit = f"at most {seconds(length)}" if length else "limited"
        default = ", by the library's default" if group[0].call.timeout.bound is Bound.DEFAULT else ""
        place = group[0].call.timeout.place or group[0].call.place
        calls_of = shown(group[0].call) if len(group) == 1 else f"{len(group)} calls of {group[0].call.library}"
        found.append(Evidence(f"{calls_of}: {limit} ({why}{default})", group[0].source, place))
    return tuple(found[:SHOWN])
