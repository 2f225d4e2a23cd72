"""Databases are judged where a connection is made: a limit of statements may be set there, in its address, or on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.calls.arguments import Arguments, Given
from skerry.architecture.code.calls.seen import Seen, texts
from skerry.architecture.code.calls.values import Is, Value
from skerry.architecture.code.facts import Bound, Kind, Timeout
from skerry.architecture.source import Place


@dataclass(frozen=True, slots=True)
class _Database:
    library: str
    limits: tuple[str, ...]
    url: str = "dsn"
    default: float | None = None


_PSYCOPG: Final = ("connect_timeout", "statement_timeout")
_DATABASES: Final[dict[str, _Database]] = {
    "psycopg2.connect": _Database("psycopg2", _PSYCOPG),
    "psycopg.connect": _Database("psycopg", _PSYCOPG, "conninfo"),
    "psycopg.Connection.connect": _Database("psycopg", _PSYCOPG, "conninfo"),
    "psycopg.AsyncConnection.connect": _Database("psycopg", _PSYCOPG, "conninfo"),
    "asyncpg.connect": _Database("asyncpg", ("command_timeout",), "dsn", 60.0),
    "asyncpg.create_pool": _Database("asyncpg", ("command_timeout",), "dsn", 60.0),
    "pymysql.connect": _Database("pymysql", ("read_timeout",), "host", 10.0),
    "MySQLdb.connect": _Database("MySQLdb", ("connect_timeout", "read_timeout"), "host"),
    "mysql.connector.connect": _Database("mysql.connector", ("connection_timeout",), "host", 10.0),
    "pymongo.MongoClient": _Database(
        "pymongo", ("timeoutMS", "socketTimeoutMS", "serverSelectionTimeoutMS"), "host", 30.0
    ),
    "motor.motor_asyncio.AsyncIOMotorClient": _Database("motor", ("timeoutMS", "socketTimeoutMS"), "host", 30.0),
    "sqlalchemy.create_engine": _Database(
        "sqlalchemy", (*_PSYCOPG, "command_timeout", "read_timeout", "timeout"), "url"
    ),
    "sqlalchemy.ext.asyncio.create_async_engine": _Database(
        "sqlalchemy", (*_PSYCOPG, "command_timeout", "read_timeout", "timeout"), "url"
    ),
}


def connection(callee: Value, args: Arguments) -> Seen | None:
    """A connection, an engine or a pool that is made; None for what is none."""
    known = _DATABASES.get(callee.name)
    if known is None or args.expr is None:
        return None
    url = args.value(known.url, 0)
    text = f"{texts(args.expr)} {url.name if url.kind is Is.TEXT else ''}"
    if "sqlite" in text:
        return None
    where = Place(args.scope.file, args.expr.line)
    if any(name in text or args.given(name) for name in known.limits):
        limit = Timeout(Bound.BOUNDED, None, "given", where)
    elif known.default:
        limit = Timeout(Bound.DEFAULT, known.default, f"what {known.library} does when it is told nothing", where)
    elif args.open_ended() or _elsewhere(url, args, known):
        limit = Timeout(Bound.UNKNOWN, None, "the connection's address is not seen, which may set one", where)
    else:
        limit = Timeout(Bound.UNBOUNDED, None, "connecting waits for as long as the system does", where)
    return Seen(library=known.library, kind=Kind.DATABASE, operation="connect", limit=limit, url=url)


def _elsewhere(url: Value, args: Arguments, known: _Database) -> bool:
    """Whether the address comes from where reading does not get."""
    first: Given | None = args.given(known.url, 0)
    return first is not None and not (url.kind is Is.TEXT and "{}" not in url.name and not url.variables)
