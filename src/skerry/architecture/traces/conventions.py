"""Attributes as the stable semantic conventions call them, whatever they were called, and without what is nobody's business.

Source: the migration guides of OpenTelemetry's semantic conventions for HTTP, databases, messaging and RPC; the tags of
OpenTracing and of Brave for what is older.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.spans import SpanKind

Value = str | int | float | bool
_RENAMED: Final = {
    "http.method": "http.request.method",
    "http.url": "url.full",
    "http.path": "url.path",
    "http.target": "url.path",
    "http.status_code": "http.response.status_code",
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
    "peer.hostname": "server.address",
    "peer.port": "server.port",
    "db.system": "db.system.name",
    "db.name": "db.namespace",
    "db.instance": "db.namespace",
    "db.redis.database_index": "db.namespace",
    "db.statement": "db.query.text",
    "sql.query": "db.query.text",
    "db.operation": "db.operation.name",
    "db.sql.table": "db.collection.name",
    "db.mongodb.collection": "db.collection.name",
    "db.cassandra.table": "db.collection.name",
    "db.cosmosdb.container": "db.collection.name",
    "messaging.destination": "messaging.destination.name",
    "message_bus.destination": "messaging.destination.name",
    "kafka.topic": "messaging.destination.name",
    "messaging.operation": "messaging.operation.type",
    "rpc.system.name": "rpc.system",
    "rpc.response.status_code": "rpc.grpc.status_code",
    "rpc.status_code": "rpc.grpc.status_code",
    "service.peer.name": "peer.service",
    "grpc.status_code": "rpc.grpc.status_code",
    "previous-rpc-attempts": "http.request.resend_count",
    "otel.status_description": "status.message",
}
_FALLBACKS: Final = {
    "net.sock.peer.name": "server.address",
    "network.peer.address": "server.address",
    "network.peer.port": "server.port",
    "net.sock.peer.addr": "server.address",
    "net.sock.peer.port": "server.port",
    "net.peer.ip": "server.address",
    "peer.ipv4": "server.address",
    "http.host": "server.address",
    "peer.address": "server.address",
}
"""Used only where nothing better is said; the first that is there wins."""
_KEPT: Final = frozenset(
    {
        *_RENAMED.values(),
        "error.type",
        "exception.type",
        "http.request.resend_count",
        "http.route",
        "messaging.system",
        "peer.service",
        "rpc.method",
        "rpc.service",
        "url.query",
        "url.template",
    }
)
_KEY: Final = re.compile(r"(?:^|[._])(?:key|id)$")
_PRIVATE: Final = re.compile(
    r"secret|token|passw|auth|session|cookie|credential|api[._-]?key|access[._-]?key|private|enduser|user[._]id|thread|process"
    r"|telemetry|service\.instance|host\.id|container",
    re.IGNORECASE,
)
_SYSTEMS: Final = {
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "postgres": "postgresql",
    "sql": "other_sql",
    "mongo": "mongodb",
    "cosmosdb": "azure.cosmosdb",
    "dynamodb": "aws.dynamodb",
}
_NOT_SQL: Final = re.compile(
    r"redis|valkey|mongo|memcache|elastic|opensearch|couch|dynamo|cosmos|neo4j|hbase|etcd|s3|influx"
)
_CONNECTION: Final = re.compile(
    r"^(?:jdbc:)?[a-z][a-z0-9+]*://(?:[^@/\s]*@)?(?P<host>[\w.-]+)(?::(?P<port>\d{1,5}))?(?:/(?P<name>[\w-]+))?"
)
_GRPC_FAULTS: Final = frozenset(
    {"2", "4", "13", "14", "15", "UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_TEXTUAL: Final = re.compile(r"time.?d?.?out|deadline|cancel\w*|circuit|breaker|not_?permitted", re.IGNORECASE)
MAX_VALUE: Final = 512
"""Characters of one value that are kept."""
MAX_KEYS: Final = 8
"""Identifiers of one span that are kept."""


def stable(given: Mapping[str, object], kind: SpanKind, masks: Masks) -> dict[str, Value]:
    """`given` by its stable names, with what the rules ask for and no more.

    Headers, users and connection strings are dropped; of a URL the user and the values of its query are masked, of a statement
    the literals.
    """
    found: dict[str, Value] = {}
    keys = 0
    for name, value in given.items():
        new = _RENAMED.get(name, name)
        if not isinstance(value, str | int | float | bool) or value == "":
            continue
        if new in _KEPT:
            if name == new or new not in found:
                found[new] = value[:MAX_VALUE] if isinstance(value, str) else value
        elif keys < MAX_KEYS and _KEY.search(name) and not _PRIVATE.search(name):
            found[name] = str(value)[:128]
            keys += 1
    for name, new in _FALLBACKS.items():
        value = given.get(name)
        if new not in found and isinstance(value, str | int) and value != "":
            found[new] = value
    _connection(str(given.get("db.connection_string", "")), found)
    _address(found, kind)
    _http(found, masks)
    _rpc(found)
    _database(found)
    if "status.message" in found:
        said = _TEXTUAL.findall(str(found["status.message"]))
        found["status.message"] = " ".join(said[:4])
    return found


def failed(found: Mapping[str, Value]) -> bool:
    """Whether what a span says of its answer is a failure of who answered, where its status does not say so."""
    status = found.get("http.response.status_code", 0)
    grpc = str(found.get("rpc.grpc.status_code", "")).upper()
    return (isinstance(status, int) and status >= 500) or grpc in _GRPC_FAULTS


def _connection(text: str, found: dict[str, Value]) -> None:
    """Server and database out of a connection string, of which nothing else is kept."""
    where = _CONNECTION.match(text)
    if where is not None:
        found.setdefault("server.address", where["host"])
        if where["port"]:
            found.setdefault("server.port", int(where["port"]))
        if where["name"]:
            found.setdefault("db.namespace", where["name"])


def _address(found: dict[str, Value], kind: SpanKind) -> None:
    """A host without scheme, user and port. What a server says of its peer is the client's address."""
    if kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
        found.pop("server.address", None)
        found.pop("server.port", None)
        found.pop("peer.service", None)
        return
    address = str(found.get("server.address", ""))
    if not address:
        return
    bare = address.partition("://")[2] or address
    bare = bare.partition("/")[0].rpartition("@")[2]
    if bare.count(":") == 1:
        bare, _, port = bare.partition(":")
        if port.isdigit():
            found.setdefault("server.port", int(port))
    found["server.address"] = bare.lower()
    port_given = str(found.get("server.port", ""))
    if port_given.isdigit():
        found["server.port"] = int(port_given[:6])
    else:
        found.pop("server.port", None)


def _http(found: dict[str, Value], masks: Masks) -> None:
    if "url.query" in found:
        found["url.query"] = masks.url(f"?{found['url.query']}").removeprefix("?")
    for name in ("url.full", "url.path", "url.template", "http.route"):
        if name in found:
            found[name] = masks.url(str(found[name]))
    status = str(found.get("http.response.status_code", ""))
    if status:
        found["http.response.status_code"] = int(status) if status.isdigit() and len(status) < 5 else 0
    if "http.request.method" in found:
        found["http.request.method"] = str(found["http.request.method"])[:20].upper()


def _rpc(found: dict[str, Value]) -> None:
    """`shop.Stock/Count` is the service and the method of it."""
    method = str(found.get("rpc.method", ""))
    if "/" in method:
        service, _, found["rpc.method"] = method.strip("/").rpartition("/")
        found.setdefault("rpc.service", service)


def _database(found: dict[str, Value]) -> None:
    system = str(found.get("db.system.name", "")).lower()
    text = str(found.pop("db.query.text", ""))
    if text and not system:
        system = "other_sql"
    if system:
        found["db.system.name"] = _SYSTEMS.get(system, system)
    if "db.namespace" in found:
        found["db.namespace"] = str(found["db.namespace"])
    if text and _NOT_SQL.search(system):
        # what such a statement is about stands in literals: its first word is all that can be kept
        word = re.match(r"\s*([A-Za-z]{2,20})\b", text)
        if word:
            found.setdefault("db.operation.name", word[1].upper())
    elif text:
        found["db.query.text"] = Masks.statement(text, quotes=system in {"mysql", "mariadb"})
