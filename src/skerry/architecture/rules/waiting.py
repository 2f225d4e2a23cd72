"""Calls that somebody waits for: whose they are, whom they go to, and what is said where there are none."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.code.facts import Call, Kind, Role
from skerry.architecture.joining import addresses
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Finding, Subject, Verdict

REMOTE: Final = frozenset({Kind.HTTP, Kind.GRPC, Kind.RPC})
SERVED: Final = frozenset({Role.REQUEST, Role.JOB})
"""When nobody sits before it: a person who runs a script can stop it."""
_HERE: Final = re.compile(r"^(?:localhost|127\.|0\.0\.0\.0|\[?::1|169\.254\.|metadata(?:\.google\.internal)?$)")
_SECRET: Final = re.compile(r"(?:^|_)(?:KEY|PASS(?:WORD)?|SECRET|TOKEN)$", re.IGNORECASE)
"""Variables in a URL that are no address."""
SHOWN: Final = 12
"""Places of one finding that are listed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call with its two ends. `known`: the peer is a service of the system or a host with a name."""

    call: Call
    service: str
    peer: str
    known: bool
    inside: bool
    """Whether the peer is a service of this system."""
    source: Source = Source.CODE
    """`spec` for a route of a gateway, which is said and not written in code."""

    @property
    def whom(self) -> str:
        """The peer as a sentence names it; empty where it is not known."""
        variable = not self.inside and self.peer in self.call.target.variables and "." not in self.peer
        return f"the address in {self.peer}" if variable else self.peer

    @property
    def said(self) -> Evidence:
        """The call as evidence."""
        text = f"{self.call.function or 'the module'}: {self.call.text or shown(self.call)}"
        return Evidence(text, self.source, self.call.place)


@dataclass(slots=True)
class Waits:
    """All calls of a system, by the service that makes them; what is not served is left out."""

    asked: list[Asked] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)
    """How many files with code that serves were read of each service."""

    def of(self, service: str) -> list[Asked]:
        """Those of one service."""
        return [each for each in self.asked if each.service == service]


def waits(subject: Subject) -> Waits:
    """The calls that requests and jobs wait for."""
    callees = _callees(subject)
    found = Waits()
    shared = _shared(subject)
    for call in subject.code.calls:
        service = subject.model.service_of(call.place.file) or ""
        if call.role in SERVED and (service or shared is None or posixpath.basename(call.place.file) in shared):
            found.asked += _asked(call, service, callees)
    files: dict[str, int] = defaultdict(int)
    for file, role in subject.code.roles.items():
        if role in SERVED and subject.code.lines.get(file):
            files[subject.model.service_of(file) or ""] += 1
    for service, calls in subject.model.routed.items():
        files[service] += len({call.place.file for call in calls})
        found.asked += [replace(each, source=Source.SPEC) for call in calls for each in _asked(call, service, callees)]
    found.read = dict(files)
    return found


def unread(subject: Subject, rule: str, read: Mapping[str, int], blamed: set[str]) -> Iterator[Finding]:
    """One finding for all services of which no Python source was read: what they wait for is not known."""
    waiting = {"gateway", "job", "frontend", "library"}
    missing = tuple(
        sorted(
            name
            for name, service in subject.model.services.items()
            if not read.get(name) and name not in blamed and service.role not in waiting
        )
    )
    if missing:
        text = (
            f"no Python source of {', '.join(missing)} was read, so their calls are not known: traces would show them"
        )
        yield Finding(rule=rule, verdict=Verdict.UNKNOWN, message=text, services=missing, key="unread")
    elif not read and not blamed and not subject.model.services:
        text = "no Python source was found, and no traces were given, so no call is known"
        yield Finding(rule=rule, verdict=Verdict.UNKNOWN, message=text, key="nothing")


def shown(call: Call) -> str:
    """A call in a few words."""
    where = call.path or call.target.url or call.target.service or next(iter(call.target.variables), "")
    return f"{call.library} {call.operation} {where}".strip()


def seconds(value: float) -> str:
    """`2 s`, `0.5 s`."""
    return f"{value:g} s"


def _shared(subject: Subject) -> frozenset[str] | None:
    """Names of files that services import, wherever those lie; None where there are no services.

    What no service has and none imports is a sample or a tool, and no request waits for it.
    """
    if not subject.model.services:
        return None
    names: set[str] = set()
    for file, imports in subject.code.imports.items():
        if subject.model.service_of(file) is not None:
            for each in imports:
                names.update((each.module.rpartition(".")[2], *each.names))
    return frozenset(f"{name}.py" for name in names)


def _callees(subject: Subject) -> dict[Call, list[str]]:
    found: dict[Call, list[str]] = defaultdict(list)
    for edge in subject.model.edges:
        for call in edge.calls if edge.waits else ():
            found[call].append(edge.callee)
    return found


def _asked(call: Call, service: str, callees: Mapping[Call, list[str]]) -> list[Asked]:
    """A call with each of its peers: what wraps a client may ask several."""
    if call in callees:
        return [Asked(call, service, callee, known=True, inside=True) for callee in callees[call]]
    target = call.target
    host = _host(target.url)
    if host:
        return [Asked(call, service, host, known=not _HERE.match(host), inside=False)]
    name = target.service or next((each for each in target.variables if not _SECRET.search(each)), "")
    return [Asked(call, service, name, known=bool(name), inside=False)]


def _host(url: str) -> str:
    found = (
        addresses.host_of(url)
        if url and not url.startswith(("{", "/")) and "{" not in url.partition("://")[2][:1]
        else None
    )
    host = found[0] if found else ""
    return host if "." in host or "://" in url or ":" in url else ""
