"""What is acknowledged is on the disk: between the write and the acknowledgement the storing process flushes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tracing import acknowledged_when, traced

from servers.nats import NatsServer
from servers.process import descendants
from skerry.events.brokers import Message, connect
from skerry.store import connect as connect_database

pytestmark = pytest.mark.strace
MARK = "mark-of-what-has-to-be-kept"
PROGRAM = Path(__file__).parent / "flushed.py"


@pytest.mark.parametrize("kind", ["outbox", "log"])
def test_embedded_commits_are_flushed(kind, tmp_path):
    """A commit of a service's SQLite file, and a publish to the event log, return after the flush of what they wrote."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, kind, tmp_path, MARK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process, traced([process.pid], tmp_path) as calls:
        for word in ("ready", "acknowledged"):
            assert process.stdout.readline() == f"{word}\n"
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert acknowledged_when(calls, MARK, "acknowledged") == "flushed"


async def published(url, folder, pids):
    """What the processes did while one event was published; a first one has made what has to be there."""
    broker = connect(url, source="order", data=folder)
    subscription = await broker.subscribe("g", {"t"}, {})
    await broker.publish([Message("first", "t", "k", "{}")])
    with traced(pids(), folder) as calls:
        await broker.publish([Message("second", "t", "k", MARK)])
    await subscription.close()
    await broker.close()
    return calls


REPLIES = {"nats": r'\\"seq\\":\d+', "redis": r":1\\r\\n:\d+\\r\\n", "rabbitmq": r"\\r\\0<\\0P"}
"""How each says that it has an event, as strace shows it."""


@pytest.mark.parametrize("kind", ["nats", "redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_brokers_flush_before_they_acknowledge(kind, tmp_path, brokers, address_at):
    """Configured as the documentation says, a broker acknowledges an event after the flush of what it wrote."""
    server = brokers(kind)
    calls = asyncio.run(published(address_at(kind, server), tmp_path, lambda: [server.pid, *descendants(server.pid)]))
    assert acknowledged_when(calls, MARK, REPLIES[kind]) == "flushed"


def test_a_server_that_flushes_later_is_told_apart(tmp_path):
    """NATS as it comes acknowledges before the flush, and this test sees it."""
    with NatsServer(tmp_path / "nats", flush=False) as server:
        calls = asyncio.run(published(server.url(), tmp_path, lambda: [server.pid]))
    assert acknowledged_when(calls, MARK, REPLIES["nats"]) == "written"


def test_postgresql_flushes_before_it_acknowledges(postgres, databases, tmp_path):
    """The server says COMMIT after the flush of its log of writes."""

    async def main():
        database = connect_database(databases["order"], owner="order", data=tmp_path)
        await database.open()
        async with database.transaction() as tx:
            await tx.execute("CREATE TABLE t (text TEXT)")
        with traced([postgres.pid, *descendants(postgres.pid)], tmp_path) as calls:
            async with database.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (?)", (MARK,))
        await database.close()
        return calls

    assert acknowledged_when(asyncio.run(main()), MARK, r"COMMIT\\0") == "flushed"
