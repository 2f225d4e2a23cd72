"""Which service keeps its data where: from variables, secrets, and what the code names."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.code.facts import Call, Code, Import, Kind, Role
from skerry.architecture.joining import addresses, images
from skerry.architecture.joining.addresses import Dsn
from skerry.architecture.joining.services import Found
from skerry.architecture.manifests import Deployed
from skerry.architecture.model import Datastore, Evidence, Service, Setting, Source, SystemModel, Use
from skerry.architecture.source import Place, port_of

_URL_NAME: Final = re.compile(
    r"(?:^|_)(?:DB|DATABASE|POSTGRES(?:QL)?|PG|MYSQL|MONGO(?:DB)?|SQLALCHEMY|DATASOURCE).*(?:URL|URI|DSN)$|(?:^|_)DSN$|CONNECTION_?STRING$",
    re.IGNORECASE,
)
_HOST_NAME: Final = re.compile(
    r"^(?P<stem>.*?(?:DB|DATABASE|POSTGRES(?:QL)?|PG|MYSQL|MARIADB|MONGO(?:DB)?|SQL)(?:_?(?:SERVER|SVC))?)_?(?:HOST(?:NAME)?|SERVER|ADDR(?:ESS)?)$",
    re.IGNORECASE,
)
_TEST_NAME: Final = re.compile(r"(?:^|_)TEST(?:ING)?(?:_|$)", re.IGNORECASE)
_DRIVERS: Final = {
    "postgresql": ("psycopg", "psycopg2", "asyncpg", "pg8000", "aiopg", "databases"),
    "mysql": ("MySQLdb", "pymysql", "aiomysql", "mysql", "asyncmy"),
    "mongodb": ("pymongo", "motor", "mongoengine", "beanie", "flask_pymongo", "odmantic"),
    "sqlite": ("sqlite3", "aiosqlite"),
    "cassandra": ("cassandra",),
    "clickhouse": ("clickhouse_connect", "clickhouse_driver"),
}
_MAPPERS: Final = frozenset(
    {
        "sqlalchemy",
        "sqlmodel",
        "flask_sqlalchemy",
        "django",
        "peewee",
        "tortoise",
        "pony",
        "databases",
        "nameko_sqlalchemy",
        "gino",
        "records",
        "ormar",
        "piccolo",
        "dj_database_url",
        "alembic",
        "skerry",
    }
)
UNUSED: Final = "who keeps data in this"
"""Part of the text of what is unknown about a database that nothing is seen to use."""
_ASIDE: Final = frozenset({Role.TEST, Role.EXAMPLE, Role.SCRIPT, Role.MIGRATION})
_LOCAL: Final = frozenset({"", "localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104 - addresses that are read, not bound


@dataclass(slots=True)
class _Kept:
    store: Datastore
    evidence: dict[tuple[str, object], Evidence] = field(default_factory=dict)


class Stores:
    """The stores and uses of a system, as they are found."""

    def __init__(self, found: Found, code: Code) -> None:
        self.stores: dict[str, Datastore] = {}
        self.unknown: list[Evidence] = []
        self._found = found
        self._code = code
        self._uses: dict[tuple[str, str], _Kept] = {}
        self._owner = SystemModel(services=found.services).service_of
        self._imports = self._imported()
        self._named: dict[str, set[str]] = defaultdict(set)
        for file, names in code.databases.items():
            if (owner := self._owner(file)) is not None and code.roles.get(file) != Role.TEST:
                self._named[owner].update(names)

        self._opened: dict[str, list[Call]] = defaultdict(list)
        for call in code.calls:
            owner = self._owner(call.place.file) if call.kind is Kind.DATABASE and call.role not in _ASIDE else None
            if owner is not None and call.target.variables and "{}" in call.target.url.partition("://")[2]:
                self._opened[owner].append(call)

    def read(self) -> None:
        """From everything that is deployed, and from the code."""
        for name, deployed in self._found.deployed.items():
            service = self._found.services[name]
            for each in deployed:
                self._from_variables(service, each)
        for call in self._code.calls:
            owner = self._owner(call.place.file)
            if owner is None or call.role in {Role.TEST, Role.EXAMPLE} or call.kind not in {Kind.DATABASE, Kind.CACHE}:
                continue
            where = addresses.dsn(call.target.url) if call.target.url else None
            if (
                where is not None
                and "{" not in f"{where.host}{where.database}"
                and not self._has_own(owner, where.kind)
            ):
                text = f"{call.function or 'the module'} opens {_shown(where)}"
                self._keep(owner, self._identity(owner, None, where), Evidence(text, Source.CODE, call.place))
        self._unused()

    def uses(self) -> tuple[Use, ...]:
        """Every use with the tables that the service's code reads and writes."""
        tables = self._tables()
        single: dict[str, int] = defaultdict(int)
        for service, identity in self._uses:
            single[service] += not self.stores[identity].broker
        found = []
        for (service, identity), kept in sorted(self._uses.items()):
            # with several stores, which table is where is not known: it is not claimed
            reads, writes = tables.get(service, (set(), set())) if single[service] == 1 else (set(), set())
            if kept.store.broker:
                reads, writes = set(), set()
            evidence = tuple(kept.evidence.values())
            found.append(
                Use(
                    service=service, store=identity, reads=frozenset(reads), writes=frozenset(writes), evidence=evidence
                )
            )
        return tuple(found)

    def _unused(self) -> None:
        """Databases that run beside the services and that nothing is known to use."""
        used = {store.server.rpartition("/")[2].partition(":")[0] for store in self.stores.values()}
        for kind, each in self._found.stores.values():
            if kind not in images.PASSING and each.workload.name not in used:
                text = f"{each.workload.name}: {UNUSED} {kind} is not said"
                self.unknown.append(Evidence(text, Source.DEPLOY, each.workload.place))

    def _has_own(self, service: str, kind: str) -> bool:
        """What is deployed says where a service's data is; a default in code is for a developer's machine."""
        return any(owner == service and kept.store.kind == kind for (owner, _), kept in self._uses.items())

    def _from_variables(self, service: Service, each: Deployed) -> None:
        env = each.workload.env
        for variable, setting in sorted(env.items()):
            if _TEST_NAME.search(variable):
                continue
            where = addresses.dsn(setting.value) if setting.value else None
            if where is None and setting.value is None and setting.secret and _URL_NAME.search(variable):
                where_is = Datastore(
                    identity=f"secret:{setting.secret}", kind="database", server=f"secret {setting.secret}"
                )
                if self._reads(service, variable, ""):
                    text = f"{each.workload.name} gets {variable} from {setting.secret}"
                    self._keep(service.name, where_is, Evidence(text, Source.DEPLOY, setting.place))
            elif where is not None and self._reads(service, variable, where.kind):
                self._found_in(service, each, where, f"{each.workload.name} gets {variable}", setting.place)
        put_together = set[str]()
        for call, where in self._filled(service.name, each):
            put_together.add(where.host)
            text = f"{call.function or 'the module'} opens {_shown(where)} with the variables of {each.workload.name}"
            self._keep(service.name, self._identity(service.name, each, where), Evidence(text, Source.CODE, call.place))
        for variable, place, where in self._in_parts(env, each.system):
            if where.host not in put_together and self._reads(service, variable, where.kind):
                self._found_in(service, each, where, f"{each.workload.name} gets {variable}", place)

    def _found_in(self, service: Service, each: Deployed, where: Dsn, how: str, place: Place | None) -> None:
        """Keep an address; where it names a server of MongoDB alone, with the databases that the code names."""
        named = self._named.get(service.name, ()) if where.kind == "mongodb" and not where.database else ()
        for one in [replace(where, database=name) for name in sorted(named)] or [where]:
            text = f"{how}, {_shown(one)}"
            self._keep(service.name, self._identity(service.name, each, one), Evidence(text, Source.DEPLOY, place))

    def _filled(self, service: str, each: Deployed) -> Iterator[tuple[Call, Dsn]]:
        """Addresses that the code puts together from variables, with the values that a workload is given."""
        for call in self._opened.get(service, ()):
            first, *rest = call.target.url.split("{}")
            if len(rest) != len(call.target.variables):
                continue
            settings = [each.workload.env.get(name) for name in call.target.variables]
            values = [setting.value if setting and setting.value else "{}" for setting in settings]
            where = addresses.dsn(first + "".join(f"{value}{more}" for value, more in zip(values, rest, strict=True)))
            if where is not None and where.host and where.database and "{" not in f"{where.host}{where.database}":
                yield call, where

    def _in_parts(self, env: Mapping[str, Setting], system: str) -> Iterator[tuple[str, Place | None, Dsn]]:
        """`DB_HOST`, `DB_PORT` and `DB_NAME` instead of one URL."""
        for variable, setting in sorted(env.items()):
            found = _HOST_NAME.match(variable)
            if found is None or not setting.value or _TEST_NAME.search(variable) or "://" in setting.value:
                continue
            host, _, port = setting.value.lower().partition(":")
            stem = found["stem"]
            database = next(
                (
                    value.value or ""
                    for ending in ("_NAME", "NAME", "_DB", "_DATABASE", "DATABASE", "_DB_NAME", "_DBNAME")
                    if (value := env.get(stem + ending) or (env.get("POSTGRES_DB") if ending == "_DB" else None))
                ),
                "",
            )
            kind = self._kind_of(system, host) or _kind_by_name(stem)
            number = (
                next((value.value for ending in ("_PORT", "PORT") if (value := env.get(stem + ending))), port) or ""
            )
            where = Dsn(kind, host, port_of(number, addresses.PORTS.get(kind, 0)), database)
            yield variable, setting.place, where

    def _kind_of(self, system: str, host: str) -> str:
        found = self._found.stores.get((system, self._known(system, host)))
        return found[0] if found else ""

    def _known(self, system: str, host: str) -> str:
        """The name by which a host runs here: `db` for `db.default` and `db.shop.svc.cluster.local`."""
        short, _, rest = host.partition(".")
        inside = "." not in rest or ".svc" in host or rest.endswith((".local", ".internal"))
        return short if rest and inside and (system, short) in self._found.stores else host

    def _identity(self, service: str, each: Deployed | None, where: Dsn) -> Datastore:
        host, port = where.host, where.port
        system = each.system if each else ""
        if where.kind == "sqlite":
            return self._file(service, each, where)
        kind = self._kind_of(system, host) or self._kind_of("", host) or where.kind
        if self._kind_of(system, host) and each is not None:
            # one server has one name, by whichever of its hosts it is reached
            host = self._found.stores[system, self._known(system, host)][1].workload.name
            port = addresses.PORTS.get(kind, port)
        short = host.partition(".svc")[0].split(".")[0] if ".svc" in host else host
        local = short in _LOCAL and not (each and each.form in {"compose", "kubernetes"})
        server = f"{short or 'localhost'}:{port}" if port else short or "localhost"
        if system and each and each.form == "compose":
            known = (system, self._known(system, where.host))
            server_id = f"{system}/{server}" if known in self._found.stores or known in self._found.hosts else server
        else:
            server_id = server
        if short in _LOCAL and not local:
            server_id = f"{service}/{server}"  # inside of a container, this is the container itself
        parts = [kind, f"//{server_id}", where.database, where.schema]
        identity = f"{parts[0]}:{parts[1]}/{where.database}" + (f"/{where.schema}" if where.schema else "")
        return Datastore(
            identity=identity,
            kind=kind,
            server=server_id,
            database=where.database,
            schema=where.schema,
            broker=kind in images.PASSING,
        )

    def _file(self, service: str, each: Deployed | None, where: Dsn) -> Datastore:
        """A file belongs to who opens it, unless it lies on a volume that others have too."""
        path = where.database
        if each is not None and path.startswith("//"):
            for volume, target in each.mounts:
                if posixpath.normpath(path.lstrip("/")).startswith(target.strip("/") + "/"):
                    inner = path.lstrip("/").removeprefix(target.strip("/"))
                    return Datastore(
                        identity=f"sqlite:{volume}{inner}", kind="sqlite", server=volume, database=inner.lstrip("/")
                    )
        start = f"{each.system}/" if each is not None and each.form == "skerry" and each.system else f"{service}/"
        if each is not None and each.form == "skerry":
            return Datastore(
                identity=f"sqlite:{start}{path.strip('/')}",
                kind="sqlite",
                server=start.rstrip("/"),
                database=path.strip("/"),
            )
        return Datastore(
            identity=f"sqlite:{start}{path.strip('/') or ':memory:'}",
            kind="sqlite",
            server=service,
            database=path.strip("/"),
        )

    def _keep(self, service: str, store: Datastore, evidence: Evidence) -> None:
        self.stores.setdefault(store.identity, store)
        kept = self._uses.setdefault((service, store.identity), _Kept(store))
        kept.evidence.setdefault((evidence.text, evidence.place), evidence)

    def _imported(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for file, imports in self._code.imports.items():
            owner = self._owner(file)
            if owner is not None and self._code.roles.get(file) != Role.TEST:
                found[owner].update(name for each in imports if not each.level and (name := database_library(each)))
        return found

    def _reads(self, service: Service, variable: str, kind: str) -> bool:
        """Whether a service's code has use for a variable; one that is set for everybody is not read by everybody."""
        if service.language != "python" or not service.roots:
            return True
        readers = self._code.variables.get(variable, ())
        if any(self._owner(file) == service.name for file in readers):
            return True
        imported = self._imports.get(service.name, set())
        if not imported:
            return not self._code.imports
        if kind in images.PASSING:
            return True
        drivers = _DRIVERS.get(kind)
        wanted = set(drivers) if drivers else {name for names in _DRIVERS.values() for name in names}
        return bool(imported & wanted) or bool(imported & _MAPPERS and kind != "mongodb")

    def _tables(self) -> dict[str, tuple[set[str], set[str]]]:
        found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        names = {(self._owner(each.place.file), each.model): each.name for each in self._code.tables if each.model}
        for use in self._code.uses:
            owner = self._owner(use.place.file)
            if owner is not None and self._code.roles.get(use.place.file) not in {Role.TEST, Role.EXAMPLE}:
                table = names.get((owner, use.table), use.table).lower()
                found[owner][1 if use.writes else 0].add(table)
        return found


def database_library(each: Import) -> str:
    """The package that is imported; `` for parts of Django that need no database, such as its settings."""
    top, _, rest = each.module.partition(".")
    if top != "django":
        return top
    taken = {rest, *(f"{rest}.{name}".lstrip(".") for name in each.names)}
    return top if any(name.startswith(("db", "contrib")) for name in taken) else ""


def _kind_by_name(stem: str) -> str:
    lowered = stem.lower()
    for part, kind in (
        ("mongo", "mongodb"),
        ("mysql", "mysql"),
        ("maria", "mysql"),
        ("pg", "postgresql"),
        ("postgres", "postgresql"),
    ):
        if part in lowered:
            return kind
    return "database"


def _shown(where: Dsn) -> str:
    port = f":{where.port}" if where.port else ""
    return f"{where.kind} {where.host}{port}{'/' if where.database else ''}{where.database.lstrip('/')}"
