"""NEVER split what must be changed, built and started together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from skerry.architecture.joining.bonds import shared_models
from skerry.architecture.model import Bond, Evidence, Source, SystemModel
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict
from skerry.architecture.source import History

MIN_COMMITS: Final = 30
"""Commits that touch a service; a share of fewer says nothing."""
MAX_FILES: Final = 30
"""A commit of more files formats or moves: it does not tell what belongs together."""
MAX_SHOWN: Final = 12
TOO_MANY: Final = 0.30
"""In real systems of several services, 1 % to 27 % of code commits touch two or more."""
_ROUTINE: Final = re.compile(
    r"\b(?:bump|bot|dependabot|renovate|format|black|isort|lint|licen[cs]e|release|rename|copyright|upgrade)\b",
    re.IGNORECASE,
)
_WAITS: Final = re.compile(
    r"(?:wait-for-it(?:\.sh)?|wait-for|dockerize\s+-wait|wait4ports)\s+(?:tcp://|http://)?([\w.-]+)"
)


class DistributedMonolith:
    """A service that is built with another's code, a cycle of starts, one migration for many, commits that cross."""

    name = "distributed-monolith"
    why = (
        "Services that need each other's code, start or release are one program with a network inside: every cost of "
        "several services, and none of their freedom. A change still waits for all of them."
    )
    fix = (
        "Either cut the bond: put what both need into a small package of its own with a version, such as event and message "
        "schemas (skerry: `skerry events` keeps them compatible), and ask the other by its API. Or merge the two: "
        "`skerry decide` shows what each costs."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        found = [
            *self._bonds(subject),
            *self._models(subject),
            *self._starts(subject.model),
            *self._migrations(subject.model),
        ]
        share = _crossing(subject.history, subject.model) if subject.history else None
        if share and share[1] >= MIN_COMMITS and share[0] > TOO_MANY * share[1] and len(subject.model.services) > 1:
            found.append(self._together(share))
        yield from found
        if not found:
            yield self._clean(subject, share)

    def _bonds(self, subject: Subject) -> Iterator[Finding]:
        bonds: dict[tuple[str, str], list[Bond]] = defaultdict(list)
        for bond in subject.model.bonds:
            bonds[bond.service, bond.other].append(bond)
        for (service, other), each in sorted(bonds.items()):
            real = [bond for bond in each if not bond.contract]
            if not real:
                continue  # what only describes an interface may be shared
            yield _violation(
                Severity.ERROR,
                (service, other),
                f"{real[0].how}: {service} cannot be built or changed without {other}",
                tuple(Evidence(bond.how, bond.source, bond.place) for bond in real[:MAX_SHOWN]),
                f"code/{service}/{other}",
            )

    def _models(self, subject: Subject) -> Iterator[Finding]:
        for library, users in shared_models(subject.code, subject.model):
            names = tuple(sorted(users))
            evidence = tuple(
                Evidence(f"{name} imports the models in {library}", Source.CODE, users[name]) for name in names
            )
            message = f"{', '.join(names)} map the same tables by the models in {library or 'the root'}"
            yield _violation(Severity.ERROR, names, message, evidence, f"models/{library}")

    def _starts(self, model: SystemModel) -> Iterator[Finding]:
        """Services that each wait for the other before they start."""
        waits: dict[str, dict[str, Evidence]] = defaultdict(dict)
        names = {
            name: service.name
            for service in model.services.values()
            for work in service.workloads
            for name in (work.name, *work.hosts)
        }
        for service in model.services.values():
            for work in service.workloads:
                for other in (*work.waits_for, *_WAITS.findall(work.command)):
                    target = names.get(other)
                    if target and target != service.name:
                        waits[service.name][target] = Evidence(
                            f"{work.name} starts after {other}", Source.DEPLOY, work.place
                        )
        for one in sorted(waits):
            for other in sorted(waits[one]):
                if one < other and one in _after(waits, other):
                    evidence = (
                        waits[one][other],
                        *(each for name, each in waits[other].items() if name == one or one in _after(waits, name)),
                    )
                    message = f"{one} and {other} wait for each other before they start"
                    yield _violation(Severity.WARNING, (one, other), message, evidence, f"start/{one}/{other}")

    def _migrations(self, model: SystemModel) -> Iterator[Finding]:
        """One job that changes the databases of several services."""
        owners = {use.store: use.service for use in model.uses if model.services[use.service].role != "job"}
        for name, service in model.services.items():
            if service.role != "job" or "migrat" not in name + " ".join(work.command for work in service.workloads):
                continue
            uses = [
                use
                for use in model.uses
                if use.service == name and use.store in owners and not model.stores[use.store].broker
            ]
            others = tuple(sorted({owners[use.store] for use in uses}))
            if len(others) > 1:
                evidence = tuple(each for use in uses for each in use.evidence)
                message = f"one job, {name}, migrates the databases of {', '.join(others)}"
                yield _violation(Severity.WARNING, others, message, evidence, f"migration/{name}")

    def _together(self, share: tuple[int, int, Counter[tuple[str, str]], tuple[str, ...]]) -> Finding:
        crossing, commits, pairs, examples = share
        (one, other), most = pairs.most_common(1)[0]
        text = (
            f"{crossing} of {commits} commits to services touch two or more of them ({crossing / commits:.0%}); "
            f"{one} and {other} most, {most} times"
        )
        evidence = (Evidence(text, Source.GIT), Evidence(f"such as {', '.join(examples)}", Source.GIT))
        return _violation(Severity.WARNING, (one, other), text, evidence, "commits")

    def _clean(
        self, subject: Subject, share: tuple[int, int, Counter[tuple[str, str]], tuple[str, ...]] | None
    ) -> Finding:
        services = [each for each in subject.model.services.values() if each.role != "library"]
        read = [each.place for found in subject.code.imports.values() for each in found[:1]]
        text = (
            f"no import, package or image binds one of {len(services)} services to another's code, "
            "and no two wait for each other to start"
        )
        evidence = [Evidence(f"imports of {len(read)} files were followed", Source.CODE, min(read, default=None))]
        evidence += [each for service in services for each in service.evidence[:1]]
        if share is not None and share[1] >= MIN_COMMITS:
            text += f"; {share[0] / share[1]:.0%} of {share[1]} commits cross services"
        else:
            evidence.append(Evidence("too little history to say how many commits cross services", Source.GIT))
        return Finding(rule=self.name, verdict=Verdict.CLEAN, message=text, evidence=tuple(evidence))


distributed_monolith: DistributedMonolith = DistributedMonolith()


def _violation(
    severity: Severity, services: tuple[str, ...], message: str, evidence: tuple[Evidence, ...], key: str
) -> Finding:
    """One finding, at the place of its first evidence."""
    return Finding(
        rule=DistributedMonolith.name,
        verdict=Verdict.VIOLATION,
        severity=severity,
        services=services,
        message=message,
        place=evidence[0].place,
        evidence=evidence,
        key=key,
    )


def _after(waits: dict[str, dict[str, Evidence]], start: str) -> set[str]:
    """All that must be up before `start`."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for other in waits.get(waiting.pop(), {}):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def _crossing(history: History, model: SystemModel) -> tuple[int, int, Counter[tuple[str, str]], tuple[str, ...]]:
    """Commits that touch two services' Python, those that touch any, which pairs, and some of them."""
    crossing, commits = 0, 0
    pairs: Counter[tuple[str, str]] = Counter()
    examples: list[str] = []
    roots = {name for name, service in model.services.items() if service.roots and service.roots != ("",)}
    owners: dict[str, str | None] = {}
    for commit in history.commits:
        code = [path for path in commit.paths if path.endswith(".py") and not re.search(r"(?:^|/)tests?(?:/|_)", path)]
        for path in code:
            if path not in owners:
                owners[path] = model.service_of(path)
        touched = sorted({owner for path in code if (owner := owners[path]) in roots and owner})
        if not touched or len(commit.paths) > MAX_FILES or _ROUTINE.search(commit.subject):
            continue
        commits += 1
        if len(touched) > 1:
            crossing += 1
            examples.append(commit.sha[:10])
            pairs.update((one, other) for i, one in enumerate(touched) for other in touched[i + 1 :])
    return crossing, commits, pairs, tuple(examples[:5])
