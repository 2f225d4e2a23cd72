"""Why a system hurts, in one sentence: the deepest failing dependency, since when, what users notice and what is safe.

A caller of something that is down fails too, and louder. So the suspect is not whoever has the most errors but the failing
service behind which nothing else fails, along the calls that are declared or were seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from skerry.console.facts import EdgeFact, Facts, Level, Sentence, ServiceFact
from skerry.topology.reaching import reached

FAILING: Final = 0.05
"""The share of failing requests from which on a service counts as failing."""
BROKEN: Final = 0.5
"""The share from which on it counts as down."""
FLAPPING: Final = 3
"""Falls, of those that are remembered, from which on a service comes and goes."""
SLOW_OUTBOX: Final = 30.0
"""Seconds that the oldest event may wait before it is worth a word."""
FEWEST: Final = 3
"""Failures that are needed to say that somebody fails: one of one is all of them, and proves nothing."""
NAMED: Final = 3
"""Suspects that are named at most."""
_STATES: Final[Mapping[str, str]] = {
    "down": "{is} down",
    "held": "{is} held back",
    "unready": "{is} not ready",
    "starting": "{is} starting",
    "store": "cannot reach {its} database",
    "flapping": "{comes} and {goes}",
    "broken": "{fails}",
    "failing": "{fails}",
    "breaker": "{is} cut off by circuit breakers",
}
_GRAVEST: Final = ("down", "store", "held", "unready", "broken", "breaker", "flapping", "failing", "starting")
_DOWN: Final = frozenset({"down", "store", "held", "unready", "broken"})


@dataclass(frozen=True, slots=True)
class _Suspect:
    name: str
    why: str
    since: float | None
    share: float = 0.0


def diagnose(facts: Facts, *, zone: tzinfo | None = None) -> Sentence:
    """The sentence for these facts. `zone` is the time zone of the times in its text, the machine's own when it is None.

    It promises to name somebody who fails and behind whom nobody fails that he calls, not that this is the cause.
    """
    suspects = _suspects(facts)
    roots = _roots(suspects, facts.edges)
    safe = _safe(facts)
    if facts.stopping is not None:
        text = f"the system is stopping since {_clock(facts.stopping, zone)}"
        return Sentence(level="warn", text=text, since=facts.stopping, safe=safe)
    ours = [one for one in facts.services if one.kind != "external"]
    services = sum(one.kind == "service" for one in ours)
    if services > 1 and all(one.state == "down" for one in ours):  # stopped, most likely: nobody is to blame
        since = max((one.since for one in ours if one.since is not None), default=None)
        text = f"all {services} services are down" + ("" if since is None else f" since {_clock(since, zone)}")
        return Sentence(level="down", text=text, since=since, damage="nobody is answered", safe=safe)
    if roots:
        damage = _damage(facts)
        first = roots[0]
        level: Level = "down" if first.why in _DOWN else "warn"
        text = "; ".join(part for part in (_named(roots, zone), damage, safe, _stuck(facts)) if part)
        return Sentence(level=level, text=text, subject=first.name, since=first.since, damage=damage, safe=safe)
    waiting = _waiting(facts)
    if waiting:
        healthy = _healthy(facts)
        text = "; ".join(part for part in (waiting, healthy[:1].lower() + healthy[1:]) if part)
        return Sentence(level="warn", text=text, safe=safe)
    if not any(service.state != "unknown" or service.rate for service in facts.services):
        return Sentence(level="warn", text="Nothing is known yet: no service has been heard of", safe=safe)
    return Sentence(level="ok", text=_healthy(facts), since=_healthy_since(facts), safe=safe)


def _suspects(facts: Facts) -> dict[str, _Suspect]:
    """Whoever fails, by name, and the gravest reason for saying so."""
    found: dict[str, _Suspect] = {}
    for service in facts.services:
        why = _why(service)
        if why:
            found[service.name] = _Suspect(service.name, why, _since(service, why), service.errors)
    unsaid = {service.name for service in facts.services if service.state == "unknown"}
    for edge in facts.edges:  # of somebody else's service we know only how its callers fare
        share = _share(edge) if edge.kind == "call" and edge.target in unsaid else 0.0
        if share >= FAILING and edge.target not in found:
            found[edge.target] = _Suspect(edge.target, "broken" if share >= BROKEN else "failing", None, share)
    names = {service.name for service in facts.services}
    for breaker in facts.breakers:
        if breaker.state in {"open", "isolated"} and breaker.policy in names and breaker.policy not in found:
            found[breaker.policy] = _Suspect(breaker.policy, "breaker", breaker.since)
    return found


def _share(of: ServiceFact | EdgeFact) -> float:
    """The share of requests that fails, where there are enough of them to say so."""
    enough = of.failures is None or of.failures >= FEWEST
    return of.errors if of.rate and enough else 0.0


def _since(service: ServiceFact, why: str) -> float | None:
    if why == "store":
        return service.store_since
    return service.failing_since if why in {"broken", "failing"} else service.since


def _why(service: ServiceFact) -> str:
    share = _share(service)
    reasons = {
        service.state: service.state in {"down", "held", "unready", "starting"},
        "store": service.store is False,
        "broken": share >= BROKEN,
        "flapping": service.flaps >= FLAPPING,
        "failing": share >= FAILING,
    }
    return next((why for why in _GRAVEST if reasons.get(why)), "")


def _roots(suspects: Mapping[str, _Suspect], edges: Sequence[EdgeFact]) -> list[_Suspect]:
    """Those behind whom nobody fails, the gravest first. In a circle of calls everybody is behind everybody."""
    calls: dict[str, set[str]] = {}
    for edge in edges:
        if edge.kind == "call":
            calls.setdefault(edge.source, set()).add(edge.target)
    behind = {name: reached(name, calls) for name in suspects}
    roots = [
        suspect
        for name, suspect in suspects.items()
        if all(
            name in behind[other] or not _explains(suspects[other], suspect)
            for other in behind[name] & suspects.keys()
            if other != name
        )
    ]
    # something that starts, or only comes and goes, explains no outage beside it; what was first comes first
    return sorted(roots, key=lambda one: (_GRAVEST.index(one.why), one.since or float("inf"), -one.share, one.name))


def _explains(below: _Suspect, above: _Suspect) -> bool:
    """Whether the trouble of somebody may come from that of somebody he calls: a process does not end because a callee errs."""
    if above.why == "held":
        return False
    return above.why not in {"down", "store"} or below.why in {"down", "store", "held"}


def _named(roots: Sequence[_Suspect], zone: tzinfo | None) -> str:
    """`payment is down since 14:02:11`; those with the same trouble as the first together, others after it."""
    first = roots[0]
    alike = [one for one in roots if one.why == first.why]
    others = [one for one in roots if one.why != first.why]
    many = len(alike) > 1
    words = {
        "is": "are" if many else "is",
        "its": "their" if many else "its",
        "comes": "come" if many else "comes",
        "goes": "go" if many else "goes",
        "fails": "fail" if many else "fails",
    }
    text = f"{_listed([one.name for one in alike])} {_STATES[first.why].format_map(words)}"
    if first.why in {"broken", "failing"} and not many and first.share:
        text += f" {_percent(first.share)} of its calls"
    begun = [one.since for one in alike if one.since is not None]
    if begun:
        text += f" since {_clock(min(begun), zone)}"
    if others:
        own = "has trouble of its own" if len(others) == 1 else "have trouble of their own"
        text += f"; {_listed([one.name for one in others])} {own}"
    return text


def _damage(facts: Facts) -> str:
    """What users notice: the share of requests that fails at the gateway, or where there is none at those whom nobody calls."""
    called = {edge.target for edge in facts.edges if edge.kind == "call"}
    gateways = [one for one in facts.services if one.kind == "gateway"]
    doors = gateways or [one for one in facts.services if one.kind == "service" and one.name not in called]
    rate = sum(one.rate for one in doors)
    if not doors:
        return ""
    if gateways and all(one.state in {"down", "held"} for one in doors):
        return "nobody outside is answered"
    if (
        not rate
    ):  # a gateway that nobody has heard of may have any, and a service that nobody calls may have none by its nature
        return "" if not gateways or all(one.failures is None for one in doors) else "no requests come in"
    share = sum(one.rate * one.errors for one in doors) / rate
    return f"{_percent(share)} of requests fail" if share >= 0.001 else "no request fails"


def _safe(facts: Facts) -> str:
    """What waits and is kept: committed events, and sagas under way."""
    rows, sagas = sum(one.rows for one in facts.outboxes), facts.sagas
    said = []
    if rows:
        said.append(f"{rows} events wait, none is lost" if rows > 1 else "1 event waits and is not lost")
    under_way = 0 if sagas is None else sagas.running + sagas.compensating
    if under_way:
        said.append(
            f"{under_way} saga{'s' if under_way != 1 else ''} {'go' if under_way != 1 else 'goes'} on afterwards"
        )
    if not said and facts.outboxes and all(one.store is not False for one in facts.services):
        return "no event waits"  # which nobody knows of a database that cannot be asked
    return ", ".join(said)


def _stuck(facts: Facts) -> str:
    """What waits for a person, whatever else there is."""
    said = []
    stuck = 0 if facts.sagas is None else facts.sagas.stuck
    if stuck:
        said.append(f"{stuck} saga{' is' if stuck == 1 else 's are'} stuck")
    if facts.dead:
        said.append(f"{facts.dead} dead letter{' waits' if facts.dead == 1 else 's wait'}")
    return f"{' and '.join(said)}{' for a person' if said else ''}"


def _waiting(facts: Facts) -> str:
    """What needs somebody although every service is well."""
    text = _stuck(facts)
    slow = [one for one in facts.outboxes if one.rows and (one.oldest or 0.0) >= SLOW_OUTBOX]
    if slow:
        worst = max(slow, key=lambda one: one.oldest or 0.0)
        late = f"{worst.rows} event{'s' if worst.rows != 1 else ''} of {worst.service} cannot be handed over"
        text = f"{text}; {late}" if text else late
    return text


def _healthy(facts: Facts) -> str:
    well = [one for one in facts.services if one.state in {"ready", "unknown"}]
    ours = [one for one in well if one.kind == "service"] or [one for one in well if one.kind == "gateway"]
    if not ours:
        return ""
    since = _healthy_since(facts)
    length = "" if since is None else f" for {_length(facts.at - since)}"
    if len(ours) == 1:
        return f"{ours[0].name} is healthy{length}"
    return f"All {len(ours)} services are healthy{length}"


def _healthy_since(facts: Facts) -> float | None:
    begun = [one.since for one in facts.services if one.state == "ready" and one.since is not None]
    return max(begun, default=None)


def _listed(names: Sequence[str]) -> str:
    named = [name[:60] for name in names[:NAMED]]
    if len(names) > NAMED:
        named.append(f"{len(names) - NAMED} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1f} %"


def _clock(at: float, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime("%H:%M:%S")


def _length(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h`, `5 d`: one unit is enough to say how long nothing has happened."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
