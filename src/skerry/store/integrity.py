"""Whether an SQLite file and its write-ahead log are whole, found out without writing to them.

SQLite takes a write-ahead log up to the first damaged frame and forgets what follows, as it should after a crash. What follows
tells a crash from damage: each commit is flushed before the next one begins, so behind a frame that a crash cut short there
can be one commit at most, and that was never acknowledged.

Source: SQLite documentation, "WAL-mode File Format".
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from skerry.errors import StoreCorrupt

_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""What a log begins with, and in which order its checksums take the bytes."""
_HEAD, _FRAME_HEAD = 32, 24
_LARGEST_PAGE: Final = 65_536
BUSY: Final = 5.0
"""Seconds to wait for another process that opens the file just now."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_RESTORE: Final = "Restore it from a backup; nothing was changed"


def demand_whole(path: Path) -> None:
    """Raises `StoreCorrupt` naming what is damaged, and what SQLite raises. What is not there is fine."""
    if not path.is_file():
        return
    address = f"file:{quote(str(path))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY)) as connection:
        try:
            first = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            raise StoreCorrupt(f"{path}: {error}. {_RESTORE}") from error
        if first != "ok":
            raise StoreCorrupt(f"{path}: {first}. {_RESTORE}")
        if _cut_short(path) and _cut_short(path):  # else another process began the log anew meanwhile
            raise StoreCorrupt(f"{path}-wal is damaged, and commits behind the damage would be lost. {_RESTORE}")


def _cut_short(path: Path) -> bool:
    """Whether commits stand in the log that SQLite does not see, while it is open and read."""
    log, index = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    if not log.exists() or log.stat().st_size <= _HEAD:
        return False
    with log.open("rb") as file:
        head = file.read(_HEAD)
        magic, _, page, _, *_ = struct.unpack(">8I", head)
        if magic not in _MAGIC or _checksum(head[:24], _MAGIC[magic]) != struct.unpack(">2I", head[24:]):
            return True
        salts, commits, number = head[16:24], [], 0
        step = _FRAME_HEAD + (page if page > 1 else _LARGEST_PAGE)
        while len(frame := file.read(_FRAME_HEAD)) == _FRAME_HEAD:
            number += 1
            if frame[8:16] == salts and frame[4:8] != bytes(4):
                commits.append(number)
            file.seek(step - _FRAME_HEAD, 1)
    with index.open("rb") as file:
        (seen,), seen_salts = struct.unpack("=16xI12x", (start := file.read(40))[:32]), start[32:40]
    return seen_salts == salts and sum(commit > seen for commit in commits) > 1


def _checksum(data: bytes, order: str) -> tuple[int, int]:
    one = two = 0
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
