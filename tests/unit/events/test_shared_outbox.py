import asyncio
from collections import Counter

import pytest

from skerry.events import Envelope, Outbox, Relay
from skerry.events.brokers.memory import Memory, MemoryBroker
from skerry.events.outbox import message
from skerry.signals import RelayChanged
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual

KEYS = [f"order-{number}" for number in range(24)]
OLD = "INSERT INTO skerry_outbox (event_id, type, key, body, due_at) VALUES (?, ?, ?, ?, nullif(?, 0.0))"
"""As a release wrote that knew neither numbers nor parts; 1.0 for a delayed one that has been due for long."""


class Slow(MemoryBroker):
    """A broker that takes its time for a batch, and while it is `stuck` never takes one. It keeps what it was given."""

    def __init__(self, memory, clock):
        super().__init__(memory, source="billing", clock=clock)
        self.pause, self.stuck, self.given = 0.0, asyncio.Event(), []
        self.stuck.set()

    async def send(self, batch):
        await self.stuck.wait()
        await self.clock.sleep(self.pause)
        await super().send(batch)
        self.given += [(message.key, Envelope.from_json(message.body).sequence) for message in batch]


class Process:
    """One process of the service, with a relay of its own."""

    def __init__(self, stage, memory):
        self.database = SQLiteDatabase(stage.database.path, owner=stage.source, clock=stage.clock)
        self.broker = Slow(memory, stage.clock)
        self.relay = Relay(self.database, Outbox(stage.source, clock=stage.clock), self.broker, clock=stage.clock)
        self.task = None

    async def start(self):
        await self.database.open()
        self.task = asyncio.create_task(self.relay.run())
        return self

    async def stop(self):
        await self.relay.stop(self.task, within=5.0)
        await self.database.close()


@pytest.fixture
def processes(staged):
    """Runs `main(stage, start)`, where `start` starts a process; what is not stopped by then is stopped."""

    def run(main):
        async def staging(clock):
            async with staged(clock) as stage:
                memory, started = Memory(clock=clock), []

                async def start():
                    started.append(await Process(stage, memory).start())
                    return started[-1]

                await main(stage, start)
                for each in started:
                    if not each.task.done():
                        await each.stop()

        run_virtual(staging)

    return run


def in_order(given):
    """The events of each key once, in the order of their numbers."""
    by_key = {}
    for key, sequence in given:
        by_key.setdefault(key, []).append(sequence)
    return all(numbers == list(range(numbers[0], numbers[0] + len(numbers))) for numbers in by_key.values())


async def record(stage, n):
    await stage.record(*((key, n) for key in KEYS))


def test_two_relays_share_the_keys(processes):
    """Each hands over the events of its own keys, about half of them, and every event once."""

    async def main(stage, start):
        one, two = await start(), await start()
        await stage.clock.sleep(2)
        for n in range(20):
            await record(stage, n)
            await stage.clock.sleep(0.3)
        assert await stage.outbox.waiting(stage.database) == 0
        keys = [{key for key, _ in each.broker.given} for each in (one, two)]
        assert keys[0] | keys[1] == set(KEYS)
        assert not keys[0] & keys[1]
        assert min(map(len, keys)) >= len(KEYS) // 4
        assert Counter(one.broker.given + two.broker.given).most_common(1)[0][1] == 1

    processes(main)


def test_a_stuck_relay_does_not_stop_the_keys_of_others(processes):
    """While one relay waits for its broker for ever, the events of the other's keys go on; then its own follow in order."""

    async def main(stage, start):
        one, two = await start(), await start()
        await stage.clock.sleep(2)
        one.broker.stuck.clear()
        for n in range(10):
            await record(stage, n)
            await stage.clock.sleep(0.3)
        (went_on,) = {sequence for _, sequence in two.broker.given[-3:]}
        assert went_on == 10
        assert one.broker.given == []
        one.broker.stuck.set()
        await stage.clock.sleep(1)
        assert await stage.outbox.waiting(stage.database) == 0
        assert in_order(one.broker.given)
        assert len(one.broker.given) + len(two.broker.given) == 10 * len(KEYS)

    processes(main)


def test_keys_change_hands_in_order_and_nothing_twice(processes):
    """Relays that come and go under load, each batch taking its time: no event is offered twice, and each key keeps its order."""

    async def main(stage, start):
        running, memory = [await start()], []
        for n in range(60):
            await record(stage, n)
            await stage.clock.sleep(0.1)
            if n % 15 == 5:
                running.append(await start())
                running[-1].broker.pause = running[0].broker.pause = 0.35
            if n % 15 == 12:
                memory.append(running.pop(0))
                await memory[-1].stop()
        await stage.clock.sleep(5)
        assert await stage.outbox.waiting(stage.database) == 0
        offered = [event for each in (*memory, *running) for event in each.broker.given]
        assert Counter(offered).most_common(1)[0][1] == 1
        assert len([each for each in (*memory, *running) if each.broker.given]) > 4
        log = running[-1].broker.memory.logs["billing"]
        assert in_order([(message.key, Envelope.from_json(message.body).sequence) for message in log])
        assert len(log) == 60 * len(KEYS)

    processes(main)


def test_what_was_there_before_there_were_parts_is_shared_too(processes):
    """Rows of a release that knew no parts, some without a number and some delayed, are handed over in order."""

    async def main(stage, start):
        async with stage.database.transaction() as tx:
            for n in range(40):
                event = message(stage.outbox.seal(stage.Placed(order=KEYS[n % 8], n=n)))
                await tx.execute(OLD, (event.id, event.type, event.key, event.body, float(n % 2)))
        one, two = await start(), await start()
        one.broker.pause = two.broker.pause = 0.5
        await stage.clock.sleep(5)
        assert await stage.outbox.waiting(stage.database) == 0
        keys = [{key for key, _ in each.broker.given} for each in (one, two)]
        assert keys[0] | keys[1] == set(KEYS[:8])
        log = one.broker.memory.logs["billing"]
        in_time = [n for n in (Envelope.from_json(each.body).data["n"] for each in log) if n % 2 == 0]
        for key in range(0, 8, 2):
            assert [n for n in in_time if n % 8 == key] == list(range(key, 40, 8))

    processes(main)


def test_each_change_of_parts_is_told(processes, heard):
    """Who leads what is a signal: all, then a half of it, then all again when the other has stopped."""

    async def main(stage, start):
        await start()
        await stage.clock.sleep(1)
        two = await start()
        await stage.clock.sleep(2)
        await two.stop()
        await stage.clock.sleep(1)

    processes(main)
    told = [(signal.state, signal.parts) for signal in heard if isinstance(signal, RelayChanged)]
    assert told[:2] == [("waiting", ""), ("leading", "all")]
    assert ("leading", "0 2") in told
    assert ("leading", "1 3") in told
    assert told[-3:] == [("stopped", ""), ("leading", "all"), ("stopped", "")]
