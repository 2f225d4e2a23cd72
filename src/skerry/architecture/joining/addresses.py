"""Addresses as they stand in variables and code: whose host it is, which database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from skerry.architecture.source import port_of

SCHEMES: Final = {
    "amqp": "amqp", "amqps": "amqp", "cassandra": "cassandra", "clickhouse": "clickhouse", "cockroachdb": "postgresql",
    "kafka": "kafka", "mariadb": "mysql", "memcached": "memcached", "mongodb": "mongodb", "mssql": "mssql",
    "mysql": "mysql", "nats": "nats", "neo4j": "neo4j", "oracle": "oracle", "postgis": "postgresql",
    "postgres": "postgresql", "postgresql": "postgresql", "pyamqp": "amqp", "redis": "redis", "rediss": "redis",
    "sqlite": "sqlite", "sqlserver": "mssql", "psql": "postgresql",
}  # fmt: skip
PORTS: Final = {
    "cassandra": 9042, "clickhouse": 8123, "mongodb": 27017, "mssql": 1433, "mysql": 3306, "neo4j": 7687, "oracle": 1521,
    "postgresql": 5432, "redis": 6379, "amqp": 5672,
}  # fmt: skip
_URL: Final = re.compile(
    r"^(?:jdbc:)?(?P<scheme>[a-z][a-z0-9]*)(?:\+[a-z0-9_]+)*://(?:[^@/]*@)?(?P<host>\[[^\]]+\]|[^/:,?;#@]*)"
    r"(?::(?P<port>[^/,?;]*))?(?P<more>(?:,[^/?]*)?)(?P<path>/[^?#;]*)?(?P<rest>.*)$",
    re.IGNORECASE,
)
_PAIRS: Final = re.compile(
    r"(?:^|[;\s])(?P<key>host|hostaddr|server|data source|addr(?:ess)?|port|dbname|database|initial catalog)\s*=\s*"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^;\s]*)",
    re.IGNORECASE,
)
_MAX_PAIRED: Final = 4_000
"""Characters of a text that may be a list of pairs."""
_SCHEMA: Final = re.compile(r"(?:currentSchema|search_path|schema)(?:=|%3D)([\w-]+)", re.IGNORECASE)
_ADDRESS: Final = re.compile(
    r"^(?:[a-z][a-z0-9+.]*://)?(?:[^@/\s]*@)?(?P<host>[A-Za-z0-9_][\w.-]*)(?::(?P<port>\d{1,5}))?(?:[/?].*)?$"
)


@dataclass(frozen=True, slots=True)
class Dsn:
    """What a database's URL names. No user and no password is kept."""

    kind: str
    host: str
    port: int
    database: str
    schema: str = ""


def dsn(text: str) -> Dsn | None:
    """None for what is neither the URL of a store nor a list of `host=`, `database=` and the like."""
    found = _URL.match(text.strip())
    kind = SCHEMES.get(found["scheme"].lower()) if found else None
    if found is None or kind is None:
        return _paired(text) if found is None and "=" in text else None
    path = found["path"] or ""
    database = path if kind == "sqlite" else path.strip("/")
    if kind == "mssql" and (named := re.search(r"database(?:Name)?=([^;&]+)", found["rest"], re.IGNORECASE)):
        database = named[1]
    schema = _SCHEMA.search(found["rest"])
    number = port_of(found["port"] or "", PORTS.get(kind, 0))
    return Dsn(kind, found["host"].lower(), number, database, schema[1] if schema else "")


def _paired(text: str) -> Dsn | None:
    """`Host=db;Database=shop` and `host=db dbname=shop`, of which the kind can be told by the port alone."""
    given = {each["key"].lower(): each["value"].strip("'\"") for each in _PAIRS.finditer(text[:_MAX_PAIRED])}
    host = next(
        (given[key] for key in ("host", "hostaddr", "server", "data source", "addr", "address") if key in given), ""
    )
    database = next((given[key] for key in ("dbname", "database", "initial catalog") if key in given), "")
    if not host or not database:
        return None
    host = host.removeprefix("tcp:")
    host, _, behind = host.replace(",", ":").partition(":")
    number = given.get("port", behind)
    kind = next(
        (kind for kind, usual in PORTS.items() if number == str(usual)),
        "postgresql" if "dbname" in given else "database",
    )
    return Dsn(kind, host.lower(), port_of(number, PORTS.get(kind, 0)), database)


def host_of(text: str) -> tuple[str, int] | None:
    """The host and the port (0 for none) that an address or a URL begins with."""
    found = _ADDRESS.match(text.strip())
    if found is None:
        return None
    return found["host"].lower(), port_of(found["port"] or "")
