"""What a document is in MongoDB: one record, which also carries the events that tell of its changes.

    {"_id": "LAMP-1", "version": 3, "revision": 7, "live": true, "document": {...},
     "outbox": [{"id": ..., "type": ..., "key": ..., "body": ..., "sequence": 5}], "pending": 1, "since": 1764000000.0, "told": 5}

`version` counts the changes of the document, `revision` every write to the record, those of the relay too: each write is a
replacement that demands the revision it was made from. `pending` is the length of `outbox`, and `told` the number of the last
event whose key is the id. A deleted document leaves its record, without `document`, until its events are handed over; after
that only if its events were counted, so that the count goes on when the id comes back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from skerry.errors import OutboxFull, StoreError
from skerry.store.documents import body
from skerry.store.documents.port import Change, Entry, Row
from skerry.store.documents.sql import conflict

Record = Mapping[str, Any]

MAX_PENDING: Final = 1000
MAX_PENDING_BYTES: Final = 8 * 1024 * 1024
"""Of events that one document may carry at a time. With the document itself a record stays below MongoDB's 16 MiB."""


def row(record: Record | None) -> Row | None:
    """The document in a record; None when there is none, or not any more. Raises `StoreError` when it is not plain JSON."""
    if record is None or not record["live"]:
        return None
    try:
        text = json.dumps(record["document"], ensure_ascii=False)
    except (TypeError, ValueError):  # somebody else has written it
        raise StoreError(
            f"the document {record['_id']!r} holds what is not plain JSON, such as a date or a binary"
        ) from None
    return Row(record["_id"], record["version"], text)


def check(record: Record | None, change: Change, name: str) -> bool:
    """Whether the change has something to do; raises `VersionConflict` when it may not be made to this record."""
    version = record["version"] if record is not None and record["live"] else None
    wanted = None if change.kind == "insert" else change.version
    if (change.kind == "insert" or wanted is not None) and version != wanted:
        raise conflict(name, change, version)
    return change.kind != "delete" or version is not None


def changed(record: Record | None, change: Change, entries: Sequence[Entry], now: float, name: str) -> Record | None:
    """The record after a change; None when nothing of it has to stay. Raises `OutboxFull` when it would carry too much."""
    before: Record = record or {"version": 0, "revision": 0, "live": False, "outbox": [], "told": 0, "since": now}
    told = before["told"]
    added = []
    for entry in entries:
        told += entry.key == change.id
        added.append(asdict(entry) | {"sequence": told if entry.key == change.id else 0})
    outbox = [*before["outbox"], *added]
    if len(outbox) > MAX_PENDING or sum(len(each["body"].encode()) for each in outbox) > MAX_PENDING_BYTES:
        raise OutboxFull(f"{name}: {len(before['outbox'])} events of the document {change.id!r} wait to be handed over")
    if change.kind == "delete" and not outbox and not told:
        return None
    after: dict[str, Any] = {
        "_id": change.id,
        "version": (before["version"] if before["live"] else 0) + 1,
        "revision": before["revision"] + 1,
        "live": change.kind != "delete",
        "outbox": outbox,
        "pending": len(outbox),
        "since": before["since"] if before["outbox"] else now,
        "told": told,
    }
    if change.kind != "delete":
        after["document"] = body.load(change.text)
    return after


def handed_over(record: Record, ids: Collection[str]) -> Record | None:
    """The record without these events; None when nothing of it has to stay."""
    outbox = [each for each in record["outbox"] if each["id"] not in ids]
    if not record["live"] and not outbox and not record["told"]:
        return None
    return {**record, "revision": record["revision"] + 1, "outbox": outbox, "pending": len(outbox)}


def entries(record: Record) -> list[Entry]:
    """The events that a record carries, in their order."""
    return [Entry(**each) for each in record["outbox"]]
