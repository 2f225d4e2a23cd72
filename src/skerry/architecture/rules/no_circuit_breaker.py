"""NEVER keep asking a service that is down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import Bound, Role
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict, counted, every
from skerry.architecture.rules.outage import Outage, outages
from skerry.architecture.rules.waiting import REMOTE, SHOWN, Asked, Waits, unread, waits

_ASIDE: Final = frozenset({"job", "library"})
_IN_SPEC: Final = "Take `breaker: false` away from the policy of the route, or of the defaults."


class NoCircuitBreaker:
    """Requests that wait for another service with nothing that stops them while it is down."""

    name = "no-circuit-breaker"
    why = (
        "While a peer is down, each request still waits for it to the end of its time-out: workers fill up, and the outage "
        "spreads to who asked. And the peer that comes back is met by everybody at once."
    )
    fix = (
        "Put a breaker into the client that all calls to the peer share, and say what is answered while it is open (skerry: "
        "`Policy` with a `CircuitBreaker`; else pybreaker, purgatory, aiobreaker, circuitbreaker, or a mesh's outlier detection)."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """One finding for each pair of caller and callee; then each service's clean or unknown verdict."""
        found = waits(subject)
        seen = outages(subject)
        asked = [each for each in found.asked if _meant(each, subject)]
        groups: dict[tuple[str, str], list[Asked]] = defaultdict(list)
        for each in asked:
            if each.known and not each.call.breaker and not subject.model.guarded.get(each.peer if each.inside else ""):
                groups[each.service, each.peer].append(each)
        blamed: set[str] = set()
        for (service, peer), calls in sorted(groups.items()):
            blamed.add(service)
            observed = next((one for one in seen if (one.service, one.peer) == (service, peer)), None)
            if observed is not None:
                observed.told = True
            yield self._violation(calls, observed)
        for one in seen:
            if not one.told:
                blamed.add(one.service)
                yield self._runtime(one, asked, subject)
        for name in sorted(subject.model.services) or [""]:
            yield from self._verdict(name, [each for each in asked if each.service == name], found, blamed, subject)
        yield from unread(subject, self.name, found.read, blamed)

    def _violation(self, calls: list[Asked], observed: Outage | None) -> Finding:
        first = calls[0]
        endless = [each for each in calls if each.call.timeout.bound is Bound.UNBOUNDED]
        retried = next((each.call.retry for each in calls if each.call.retry), None)
        text = (
            f"{first.service or first.call.place.file} waits for {first.whom} and nothing stops it while that is down"
        )
        if endless:
            text += "; it waits without a limit, too"
        if retried:
            text += f"; {retried.name} makes it ask more often then"
        evidence = [each.said for each in (endless or calls)[:1]]
        evidence += [each.said for each in calls[:SHOWN] if each.said not in evidence]
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR if endless else Severity.WARNING,
            services=tuple(name for name in (first.service, first.peer if first.inside else "") if name),
            message=text,
            place=evidence[0].place,
            evidence=(*evidence, *((observed.evidence,) if observed else ())),
            fix=_IN_SPEC if first.source is Source.SPEC else "",
            key=f"{first.service}/{first.peer}",
        )

    def _runtime(self, seen: Outage, asked: list[Asked], subject: Subject) -> Finding:
        theirs = [each for each in asked if (each.service, each.peer) == (seen.service, seen.peer)]
        guarded = bool(theirs) or bool(subject.model.guarded.get(seen.peer))
        text = (
            f"{seen.service} went on asking {seen.peer} for {seen.lasted:.0f} s while it failed: {seen.failed} calls, "
            f"{seen.then:.2g} a second after {seen.before:.2g} a second before"
        )
        if guarded:
            text += "; there is a breaker, and it did not open"
        return Finding(
            rule=self.name,
            verdict=Verdict.SUSPECT if guarded else Verdict.VIOLATION,
            severity=Severity.WARNING,
            services=(seen.service, seen.peer) if seen.inside else (seen.service,),
            message=text,
            place=seen.place,
            evidence=(seen.evidence, *(each.said for each in theirs[:SHOWN])),
            key=f"trace:{seen.service}/{seen.peer}",
        )

    def _verdict(
        self, name: str, calls: list[Asked], found: Waits, blamed: set[str], subject: Subject
    ) -> Iterator[Finding]:
        services = (name,) if name else ()
        vague = [each for each in calls if not each.known and not each.call.breaker]
        if vague:
            whose = f" of {name}" if name else ""
            text = (
                f"whom {counted(len(vague), 'call')}{whose} may go to is not known, "
                "so neither is whether a breaker stands before it"
            )
            yield Finding(
                rule=self.name,
                verdict=Verdict.UNKNOWN,
                services=services,
                message=text,
                place=vague[0].call.place,
                evidence=tuple(each.said for each in vague[:SHOWN]),
                key=f"unknown:{name}",
            )
        elif name not in blamed and found.read.get(name):
            yield self._clean(name, calls, services, found.read[name], subject)

    def _clean(self, name: str, calls: list[Asked], services: tuple[str, ...], files: int, subject: Subject) -> Finding:
        evidence: dict[str, Evidence] = {}
        for each in calls:
            if each.call.breaker:
                text = f"before {each.peer or 'its peer'} stands {each.call.breaker.name}"
                evidence.setdefault(text, Evidence(text, each.source, each.call.breaker.place))
            else:
                for one in subject.model.guarded.get(each.peer, ())[:1]:
                    evidence.setdefault(one.text, one)
        peers = sorted({each.peer for each in calls if each.peer})
        if calls:
            whom = f" to {', '.join(peers[:6])}" if peers else ""
            text = f"{every(len(calls), 'call')}{whom} stops while its peer is down"
        else:
            text = f"no request waits for another service in {counted(files, 'file')}"
            evidence[text] = Evidence(text, Source.CODE)
        return Finding(
            rule=self.name,
            verdict=Verdict.CLEAN,
            services=services,
            message=f"{name}: {text}" if name else text,
            place=next((each.place for each in evidence.values() if each.place), None),
            evidence=tuple(evidence.values())[:SHOWN],
            key=name,
        )


no_circuit_breaker: NoCircuitBreaker = NoCircuitBreaker()


def _meant(each: Asked, subject: Subject) -> bool:
    """A request's call to another service; jobs try again by themselves, and a database has its own pool."""
    service = subject.model.services.get(each.service)
    if each.call.kind not in REMOTE or each.call.role is not Role.REQUEST or (service and service.role in _ASIDE):
        return False
    return not (each.inside and each.peer == each.service)
