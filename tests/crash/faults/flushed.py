"""Stores one thing in the embedded way: `flushed.py outbox|log FOLDER MARK`. It acknowledges on standard output."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from skerry.events.brokers import Message, connect
from skerry.store import SQLiteDatabase

kind, folder, mark = sys.argv[1], Path(sys.argv[2]), sys.argv[3]


def say(word: str) -> None:
    """Say it, and wait until that was heard."""
    os.write(1, f"{word}\n".encode())
    sys.stdin.readline()


async def log() -> None:
    broker = connect("sqlite:///events/", source="order", data=folder)
    await broker.publish([Message("first", "t", "k", "{}")])
    say("ready")
    await broker.publish([Message("second", "t", "k", mark)])
    say("acknowledged")
    await broker.close()


async def outbox() -> None:
    database = SQLiteDatabase(folder / "order.db", owner="order")
    await database.open()
    async with database.transaction() as tx:
        await tx.execute("CREATE TABLE t (text TEXT)")
    say("ready")
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (?)", (mark,))
    say("acknowledged")
    await database.close()


asyncio.run(log() if kind == "log" else outbox())
