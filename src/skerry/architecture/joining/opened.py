"""Databases as traces show them: who opened which, and which of its tables were read and written."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.code.structure.sql import statements
from skerry.architecture.joining import addresses, images
from skerry.architecture.model import Datastore, Evidence, Source, Use
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span

_WRITES: Final = re.compile(
    r"^(?:INSERT|UPDATE|DELETE|MERGE|REPLACE|UPSERT|FINDANDMODIFY|FINDONEAND|COPY|BULKWRITE|TRUNCATE|REMOVE|SAVE|PUT|WRITE|BATCHWRITE)"
)
_READS: Final = frozenset({"SELECT", "FIND", "AGGREGATE", "COUNT", "GET"})
_NAMED: Final = re.compile(r"^([A-Za-z]{3,20})(?:\s+INTO|\s+FROM)?\s+(?:[\w$-]+\.)*([A-Za-z_][\w$-]*)$", re.IGNORECASE)
_KINDS: Final = {"microsoft.sql_server": "mssql", "oracle.db": "oracle", "other_sql": "database"}
Value = str | int | float | bool


@dataclass(slots=True)
class _Data:
    store: Datastore
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    place: Place | None = None
    count: int = 0
    placed: bool = True
    """Whether the spans say on which server it is."""


class Databases:
    """What the spans of statements say."""

    def __init__(self) -> None:
        self._data: dict[tuple[str, str], _Data] = {}

    def saw(self, service: str, span: Span) -> None:
        """Note one span, if it is one of a statement."""
        said = span.attributes
        if "db.system.name" not in said and "db.namespace" not in said:
            return
        kind = _kind(said)
        host = str(said.get("server.address") or said.get("peer.service") or "")
        namespace = str(said.get("db.namespace", ""))
        if not host and not namespace:
            return
        data = self._of(service, kind, "" if kind == "sqlite" else host, said)
        data.place = data.place or Place(span.file, span.line)
        data.count += 1
        for table, writes in _tables(span):
            (data.writes if writes else data.reads).add(table)

    def uses(self) -> dict[tuple[str, str], tuple[Datastore, Use]]:
        """By service and identity of the store."""
        found = {}
        for (service, _), data in _joined(self._data).items():
            identity = data.store.identity
            text = f"{service} opened {identity} in {data.count} spans"
            use = Use(
                service=service,
                store=identity,
                reads=frozenset(data.reads),
                writes=frozenset(data.writes),
                evidence=(Evidence(text, Source.TRACE, data.place),),
            )
            found[service, identity] = (data.store, use)
        return found

    def _of(self, service: str, kind: str, host: str, said: Mapping[str, Value]) -> _Data:
        port = said.get("server.port") or addresses.PORTS.get(kind, 0)
        database, _, schema = str(said.get("db.namespace", "")).partition("|")
        server = f"{host}:{port}" if host and port else host or service
        path = f"{kind}://{server}/{database}" + (f"/{schema}" if schema else "")
        identity = f"sqlite:{service}/{database}" if kind == "sqlite" else path
        data = self._data.get((service, identity))
        if data is None:
            store = Datastore(
                identity=identity,
                kind=kind,
                server=server,
                database=database,
                schema=schema,
                broker=kind in images.PASSING,
            )
            data = self._data[service, identity] = _Data(store, placed=bool(host) or kind == "sqlite")
        return data


def _kind(said: Mapping[str, Value]) -> str:
    kind = str(said.get("db.system.name", "database"))
    kind = _KINDS.get(kind, kind)
    if kind == "database":
        kind = images.store_kind(str(said.get("peer.service", ""))) or kind
    return addresses.SCHEMES.get(kind, kind)


def _tables(span: Span) -> list[tuple[str, bool]]:
    """Tables with whether they are written: as the span says, else as its statement or its name does."""
    said = span.attributes
    operation = re.sub(r"[^A-Z]", "", str(said.get("db.operation.name", "")).upper())
    table = str(said.get("db.collection.name", "")).lower()
    text = str(said.get("db.query.text", ""))
    found = [(each.table.lower(), each.writes) for each in statements(text)] if text else []
    named = _NAMED.match(span.name)
    if table:
        table = table.removeprefix("public.")
        written = any(writes for other, writes in found if other.rpartition(".")[2] == table.rpartition(".")[2])
        by_name = not operation and not found and named is not None and bool(_WRITES.match(named[1].upper()))
        return [(table, bool(_WRITES.match(operation)) or written or by_name)]
    verb = named[1].upper() if named is not None else ""
    if named is not None and not found and operation in {"", verb} and (_WRITES.match(verb) or verb in _READS):
        found = [(named[2].lower(), bool(_WRITES.match(verb)))]
    return found


def _joined(given: Mapping[tuple[str, str], _Data]) -> dict[tuple[str, str], _Data]:
    """Databases without a server in their spans are one when two services write one table in a database of one name."""
    groups: dict[tuple[str, str, str], list[tuple[str, _Data]]] = defaultdict(list)
    found = dict(given)
    for (service, _), data in given.items():
        if not data.placed and data.store.database:
            groups[data.store.kind, data.store.database, data.store.schema].append((service, data))
    for (kind, database, _), those in groups.items():
        for service, data in those:
            if any(data.writes & other.writes for name, other in those if name != service):
                store = replace(data.store, identity=f"{kind}://?/{database}", server="?")
                found[service, data.store.identity] = replace(data, store=store)
    return found
