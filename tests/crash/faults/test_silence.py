"""A server that is stopped with SIGSTOP: its connections stay open, and nothing answers."""

import asyncio
import os
import signal

import pytest
from scene import LANES, Scene

from skerry.signals import ConsumerFailed, HealthChanged, RelayFailed


@pytest.mark.parametrize("kind", ["nats", "redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_silent_broker_is_reported_and_nothing_is_lost(kind, tmp_path, brokers, address_at):
    """Relay and consumer say so and go on trying; when it answers again everything arrives, in order and once."""
    server = brokers(kind)

    async def main():
        scene = Scene(tmp_path, broker=address_at(kind, server, timeout=1))
        async with scene.playing():
            async with scene.recording():
                await scene.more(100)
                server.pause()
                try:
                    await scene.hears(RelayFailed, ConsumerFailed)
                    await scene.hears(RelayFailed, ConsumerFailed)
                    await scene.until(lambda: "pass" not in {scene.found["order"][-1], scene.found["billing"][-1]})
                    assert not scene.refused
                finally:
                    server.resume()
                await scene.more(100)
            await scene.settles()

    asyncio.run(main())


def send(number, pids):
    for pid in pids:
        os.kill(pid, number)


def backends(server):
    """The processes of the server that serve a service just now."""
    asked = (
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'skerry:%'"
    )
    return [int(pid) for pid in server.execute(asked).split()]


@pytest.mark.parametrize("whole", [True, False], ids=["server", "backends"])
def test_a_silent_database_is_reported_and_nothing_is_lost(whole, tmp_path, postgres, databases):
    """Who meets it is told in bounded time; when it answers again all goes on by itself, and nothing is lost."""

    async def main():
        scene = Scene(tmp_path, **databases)
        async with scene.playing():
            async with scene.recording():
                await scene.more(100)
                stopped = [] if whole else backends(postgres)
                postgres.pause() if whole else send(signal.SIGSTOP, stopped)
                try:
                    scene.refused.clear()
                    if whole:
                        await scene.hears(RelayFailed, ConsumerFailed, HealthChanged)
                        await scene.until(lambda: len(scene.refused) >= LANES)
                    else:  # who finds no connection stopped under its hands goes on over a new one, where locks allow it
                        enough = scene.handled + 100
                        await scene.until(lambda: scene.refused or scene.of(HealthChanged) or scene.handled >= enough)
                finally:
                    postgres.resume() if whole else send(signal.SIGCONT, stopped)
                await scene.more(100)
            await scene.settles()

    asyncio.run(main())
