"""NEVER split before there are people and reasons for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.model import Evidence, Service, Source
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict
from skerry.architecture.source import Place, Unreadable

MIN_SERVICES: Final = 3
SMALL: Final = 2_000
"""Lines of code of a service; below it, there is little to gain by keeping it apart."""
MANY: Final = 5
TINY: Final = 200
"""So many services of so few lines need no history to look premature."""
YEAR: Final = 365.25 * 86_400
_AN_EXAMPLE: Final = re.compile(
    r"\b(?:example|sample|demo(?:nstration)?|tutorial|workshop|course|teaching|proof[- ]of[- ]concept|learning)\b"
    r"|\b(?:the|this|my|our|companion) book\b"
    r"|reference application",
    re.IGNORECASE,
)
_HEAD: Final = 3_000
"""Characters of a README within which it says what it is about."""
_A_WARNING: Final = re.compile(r"(?:^|/)anti-?patterns?(?:/|$)")
"""Folders of systems that are shown for their faults: those are to be found."""
_ASIDE: Final = re.compile(r"(?:^|/)(?:examples?|samples?|demos?|tutorials?|fixtures|tests?|docs?)(?:/|$)")


class PrematureMicroservices:
    """More services than people who work on them, each of them small. Always a note: it is a question, not a fault."""

    name = "premature-microservices"
    why = (
        "Each service costs a pipeline, a database, a deployment and an on-call rota. With fewer people than services, "
        "those costs are paid by the same few, and no team becomes freer by them."
    )
    fix = (
        "Merge the services that are changed together into one application with strict modules (`skerry guard` writes the "
        "contracts), and split again when a part needs its own team, its own scale or its own pace (`skerry decide`)."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        services = [
            each for each in subject.model.services.values() if each.role in {"service", "gateway"} and each.roots
        ]
        count = len(services)
        if count < MIN_SERVICES:
            evidence = tuple(each for service in services for each in service.evidence[:1])
            text = f"{count} service{'' if count == 1 else 's'}: nothing that could be merged early"
            yield Finding(rule=self.name, verdict=Verdict.CLEAN, message=text, evidence=evidence)
            return
        sizes = _sizes(services)
        example = _example(subject)
        if example is not None:
            text = (
                f"{count} services of {_median(sizes):,} lines; this is {example.text}, "
                "which shows services and is not run by a team"
            )
            yield Finding(rule=self.name, verdict=Verdict.CLEAN, message=text, evidence=(example, *_sized(services)))
            return
        if subject.history is None or subject.history.shallow or not subject.history.commits:
            if count >= MANY and 0 < _median(sizes) < TINY:
                yield self._tiny(services, sizes)
                return
            text = f"{count} services; without the history of the repository nobody knows how many people work on them"
            yield Finding(
                rule=self.name, verdict=Verdict.UNKNOWN, message=text, evidence=_sized(services), key="history"
            )
            return
        yield self._measured(subject, services, sizes)

    def _tiny(self, services: list[Service], sizes: list[int]) -> Finding:
        return Finding(
            rule=self.name,
            verdict=Verdict.SUSPECT,
            severity=Severity.NOTE,
            services=tuple(each.name for each in services),
            message=(
                f"{len(services)} services, {_median(sizes):,} lines in the median one; without the history of the "
                "repository nobody knows how many people work on them"
            ),
            place=services[0].evidence[0].place if services[0].evidence else None,
            evidence=_sized(services),
            key="size",
        )

    def _measured(self, subject: Subject, services: list[Service], sizes: list[int]) -> Finding:
        assert subject.history is not None, "asked before"
        history, count = subject.history, len(services)
        authors = {each.author for each in history.commits if each.when >= history.at - YEAR}
        first = min(history.commits, key=lambda each: each.when)
        at_once = {owner for path in first.paths if (owner := subject.model.service_of(path))} & {
            each.name for each in services
        }
        evidence = [
            Evidence(f"{len(authors)} people committed in the last year of the history", Source.GIT),
            *_sized(services),
        ]
        if len(at_once) >= MIN_SERVICES:
            evidence.append(
                Evidence(f"{len(at_once)} services came with the first commit, {first.sha[:10]}", Source.GIT)
            )
        few, small = count > max(len(authors), 1), bool(sizes) and _median(sizes) < SMALL
        text = f"{count} services for {len(authors)} active authors, {_median(sizes):,} lines in the median service"
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION if few and small else Verdict.CLEAN,
            severity=Severity.NOTE,
            services=tuple(each.name for each in services) if few and small else (),
            message=text,
            place=services[0].evidence[0].place if services[0].evidence else None,
            evidence=tuple(evidence),
            key="size",
        )


premature_microservices: PrematureMicroservices = PrematureMicroservices()


def _sizes(services: list[Service]) -> list[int]:
    """Lines of those that are Python; of others nothing was counted."""
    return sorted(each.lines for each in services if each.language == "python" and each.lines)


def _median(sizes: list[int]) -> int:
    return sizes[len(sizes) // 2] if sizes else 0


def _sized(services: list[Service]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(f"{each.name}: {each.lines:,} lines", Source.CODE, Place(each.roots[0] or "."))
        for each in services
        if each.lines
    )


def _example(subject: Subject) -> Evidence | None:
    """What says that this system is there to be looked at."""
    if _ASIDE.search(subject.part) and not _A_WARNING.search(subject.part):
        return Evidence(f"an example system inside of a repository ({subject.part})", Source.GIT, Place("."))
    for path in ("README.md", "README.rst", "README.txt", "README"):
        if path not in subject.files.sizes:
            continue
        try:
            text = subject.files.read(path)[:_HEAD].decode("utf-8", errors="replace")
        except Unreadable:
            return None
        for number, line in enumerate(text.splitlines()[:25], 1):
            found = _AN_EXAMPLE.search(line)
            if found:
                return Evidence(
                    f"a system that its README calls “{found[0].lower()}”", Source.CODE, Place(path, number)
                )
    return None
