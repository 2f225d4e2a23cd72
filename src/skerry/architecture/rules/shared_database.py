"""NEVER let two services keep their data in one database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from skerry.architecture.code.facts import Role, Table
from skerry.architecture.joining.stores import UNUSED, database_library
from skerry.architecture.model import Datastore, Evidence, Source, SystemModel, Use
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict
from skerry.architecture.source import Place

_DATABASES: Final = frozenset(
    [
        "MySQLdb",
        "alembic",
        "asyncpg",
        "databases",
        "django",
        "flask_sqlalchemy",
        "mongoengine",
        "motor",
        "nameko_sqlalchemy",
        "peewee",
        "psycopg",
        "psycopg2",
        "pymongo",
        "pymysql",
        "sqlalchemy",
        "sqlmodel",
        "tortoise",
    ]
)
MAX_SHOWN: Final = 12


class SharedDatabase:
    """Two services with one database: equal host, port, database and schema, or one secret; tables that both write."""

    name = "shared-database"
    why = (
        "A table that two services write has no owner: neither can change its columns, move it or trust what it reads "
        "without the other. Their releases, their locks and their outages become one."
    )
    fix = (
        "Give each table one owner. Others ask its API or keep a copy that events feed (skerry: outbox, `@service.on`, "
        "projections; else an outbox table and any broker). Move table by table, those with one writer first; then give "
        "each service a database or a schema and a user of its own (`skerry db`)."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        model = subject.model
        users = _users(model)
        found = [self._shared(subject, model.stores[store], uses) for store, uses in users.items() if len(uses) > 1]
        shared = {frozenset(each.services) for each in found}
        found += [
            each
            for each in self._foreign_keys(subject, users)
            if not any(set(each.services) <= pair for pair in shared)
        ]
        yield from found
        speaking, known = _speaking(subject), {use.service for uses in users.values() for use in uses}
        # one service alone shares with nobody, wherever its data is
        missing = tuple(sorted(speaking - known)) if len(speaking | known) > 1 else ()
        if missing:
            text = f"the code of {_listed(missing)} opens a database and nothing says which: give the values of its variables"
            yield Finding(rule=self.name, verdict=Verdict.UNKNOWN, message=text, services=missing, key="unresolved")
        unread = self._unread(model, speaking | known)
        if unread is not None:
            yield unread
        if not (found or missing or unread):
            yield self._clean(model, users, speaking)

    def _unread(self, model: SystemModel, known: set[str]) -> Finding | None:
        """Databases that nothing is seen to use beside services whose code is not read."""
        idle = tuple(each for each in model.unknown if UNUSED in each.text)
        foreign = tuple(
            name for name, each in model.services.items()
            if each.role == "service" and each.language not in {"", "python"} and name not in known
        )  # fmt: skip
        if not idle or not foreign or len(foreign) + len(known) < 2:
            return None
        stores = _listed([each.text.partition(":")[0] for each in idle])
        text = (
            f"{stores} hold{'s' if len(idle) == 1 else ''} data, and the code of {_listed(foreign)} is not Python: who shares "
            "one cannot be said without their variables or traces"
        )
        return Finding(
            rule=self.name, verdict=Verdict.UNKNOWN, message=text, services=foreign, evidence=idle, key="unread"
        )

    def _shared(self, subject: Subject, store: Datastore, uses: list[Use]) -> Finding:
        services = tuple(use.service for use in uses)
        both = sorted({table for one, other in combinations(uses, 2) for table in one.writes & other.writes})
        secret = store.identity.startswith("secret:")
        shown = store.server if secret else f"{store.kind} {store.server}/{store.database}".rstrip("/")
        evidence = tuple(each for use in uses for each in use.evidence)
        if not store.database and not secret:
            text = f"{_listed(services)} use the server {shown}; which database of it is not said"
            return Finding(
                rule=self.name,
                verdict=Verdict.UNKNOWN,
                message=text,
                services=services,
                evidence=evidence,
                key=store.identity,
            )
        keys = _crossing(subject, set(services))
        if both:
            severity, more = Severity.ERROR, f"; more than one of them writes {_listed(both[:MAX_SHOWN])}"
        elif keys:
            severity, more = Severity.ERROR, f"; {keys[0].text}"
        else:
            severity, more = Severity.WARNING, ""
        written = [
            Evidence(f"{each.function or 'the module'} writes {each.table}", Source.CODE, each.place)
            for each in subject.code.uses
            if both
            and each.writes
            and each.table.lower() in both
            and subject.model.service_of(each.place.file) in services
        ]
        return Finding(
            rule=self.name,
            verdict=Verdict.VIOLATION,
            severity=severity,
            services=services,
            message=f"{_listed(services)} share one database, {shown}{more}",
            place=next((each.place for each in evidence if each.place), None),
            evidence=(*evidence, *keys, *written[:MAX_SHOWN]),
            key=store.identity,
        )

    def _foreign_keys(self, subject: Subject, users: dict[str, list[Use]]) -> Iterator[Finding]:
        """Keys into a table of another service, where manifests do not show two databases."""
        known = {use.service for uses in users.values() for use in uses}
        bound: list[tuple[set[str], dict[Place | None, Evidence]]] = []
        for one, other in combinations(sorted(subject.model.services), 2):
            keys = [] if {one, other} <= known else _crossing(subject, {one, other})
            if not keys:
                continue
            names, evidence = {one, other}, {each.place: each for each in keys}
            for group in [group for group in bound if group[0] & names]:
                bound.remove(group)
                names, evidence = names | group[0], group[1] | evidence
            bound.append((names, evidence))
        for names, evidence in bound:
            services, keys = tuple(sorted(names)), list(evidence.values())
            yield Finding(
                rule=self.name,
                verdict=Verdict.VIOLATION,
                severity=Severity.ERROR,
                services=services,
                message=f"{_listed(services)} share one database: {keys[0].text}",
                place=keys[0].place,
                evidence=tuple(keys[:MAX_SHOWN]),
                key="/".join(services),
            )

    def _clean(self, model: SystemModel, users: dict[str, list[Use]], speaking: set[str]) -> Finding:
        evidence = tuple(each for uses in users.values() for use in uses for each in use.evidence[:1])
        services = tuple(sorted({use.service for uses in users.values() for use in uses}))
        if len(services) == 1:
            text = f"only {services[0]} keeps data in a database, so no other service can be in it"
        elif services:
            text = f"each of {len(services)} services that keep data has its own: {len(users)} databases, no two services in one"
        elif speaking:
            services = tuple(sorted(speaking))
            text = f"only the code of {services[0]} opens a database, so no other service can be in it"
            evidence = model.services[services[0]].evidence[:1]
        else:
            text = f"none of {len(model.services)} services keeps data in a database"
            evidence = tuple(each for service in model.services.values() for each in service.evidence[:1])
        return Finding(rule=self.name, verdict=Verdict.CLEAN, message=text, services=services, evidence=evidence)


shared_database: SharedDatabase = SharedDatabase()


def _users(model: SystemModel) -> dict[str, list[Use]]:
    """Uses by database, without caches and brokers and without jobs such as migrations and load tests."""
    found: dict[str, list[Use]] = defaultdict(list)
    for use in model.uses:
        service = model.services.get(use.service)
        if not model.stores[use.store].broker and (service is None or service.role != "job"):
            found[use.store].append(use)
    return dict(sorted(found.items()))


def _crossing(subject: Subject, services: set[str]) -> list[Evidence]:
    """Foreign keys of one of `services` into a table that only another of them maps."""
    owners: dict[str, set[str]] = defaultdict(set)
    mapped: list[tuple[str, Table]] = []
    for table in subject.code.tables:
        owner = subject.model.service_of(table.place.file)
        if owner in services and not table.abstract and subject.code.roles.get(table.place.file) != Role.TEST:
            owners[table.name.lower()].add(owner)
            mapped.append((owner, table))
    found = []
    for owner, table in mapped:
        for key in table.keys:
            others = owners.get(key.table.lower(), set())
            if others and owner not in others:
                text = f"{table.name} of {owner} has a foreign key into {key.table} of {min(others)}"
                found.append(Evidence(text, Source.MIGRATION, key.place))
    return found


def _speaking(subject: Subject) -> set[str]:
    """Services whose code speaks to a database."""
    speaking: set[str] = set()
    for file, imports in subject.code.imports.items():
        owner = subject.model.service_of(file)
        aside = subject.code.roles.get(file) in {Role.TEST, Role.EXAMPLE, Role.SCRIPT}
        if owner is None or aside or owner in speaking:
            continue
        if any(database_library(each) in _DATABASES for each in imports if not each.level):
            speaking.add(owner)
    return {name for name in speaking if subject.model.services[name].role not in {"job", "library"}}


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
