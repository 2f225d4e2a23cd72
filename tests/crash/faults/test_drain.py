"""SIGTERM while events flow: the service finishes what it has in hand, and no more than that comes again."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from scene import PATIENCE, Scene

STOPS, EACH = 2, 100


@pytest.fixture
def address(request, tmp_path, brokers, address_at):
    kind = request.param
    return f"sqlite:///{tmp_path}/events/" if kind == "sqlite" else address_at(kind, brokers(kind))


def calls(folder):
    """What the service has handled, in that order."""
    with closing(sqlite3.connect(folder / "billing.db")) as connection:
        try:
            return connection.execute("SELECT lane, n FROM calls ORDER BY rowid").fetchall()
        except sqlite3.OperationalError:
            return []


def has(folder, count):
    return len(calls(folder)) >= count


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.05)


async def begun(folder, address, log):
    variables = {"SKERRY_DATA": str(folder), "SKERRY_EVENTS": address, "SKERRY_LOG_LEVEL": "debug", "SKERRY_PORT": "0"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry.service", "drained:service",
        cwd=Path(__file__).parent, env={**os.environ, **variables}, stdin=asyncio.subprocess.PIPE, stderr=log,
    )  # fmt: skip


@pytest.mark.parametrize(
    "address", ["sqlite", "nats", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)
def test_a_service_that_is_stopped_gets_nothing_twice(address, tmp_path):
    """Over several stops and starts each event is delivered once: none is lost, reordered, or found to be handled already."""
    log = tmp_path / "log"

    async def main():
        scene = Scene(tmp_path, broker=address)
        await scene.order.start()
        try:
            with log.open("wb") as output:
                process = await begun(tmp_path, address, output)
                await until(lambda: b'"ready"' in log.read_bytes())
                async with scene.recording():
                    for _ in range(STOPS):
                        enough = len(calls(tmp_path)) + EACH
                        await until(partial(has, tmp_path, enough))
                        process.send_signal(signal.SIGTERM)
                        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
                        process = await begun(tmp_path, address, output)
                last = {(lane, numbers[-1]) for lane, numbers in scene.committed.items()}
                await until(lambda: last <= set(calls(tmp_path)))
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        finally:
            await scene.order.stop()
        return scene.attempted

    for lane, numbers in asyncio.run(main()).items():
        handled = [n for which, n in calls(tmp_path) if which == lane]
        first = numbers.index(handled[0])  # RabbitMQ keeps nothing for a group that was never there
        assert handled == numbers[first : first + len(handled)]
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"EventHandled"' in line]
    assert len(lines) == len(calls(tmp_path))
    assert not [line for line in lines if line["duplicate"]]
    assert set(Counter(line["id"] for line in lines).values()) == {1}
