"""From a committed transaction to the handler's: nothing lost, nothing reordered in a key, one effect each."""

import asyncio
import itertools
import json
import random
from dataclasses import replace

import pytest

from skerry.errors import NoTransaction
from skerry.events import DeadLetters
from skerry.events.outbox import message
from skerry.resilience import Retry

WRITERS, KEYS, EACH = 8, 12, 30


def test_concurrent_writers_with_slow_commits_lose_and_reorder_nothing(staged):
    """Sixteen writers, some slow to commit: the log has each key's events in the order of its commits, numbered in turn."""

    async def main():
        async with staged(writers=2) as stage, stage.relaying(relays=2):
            stage.listen()

            async def write(writer):
                for turn in range(KEYS * EACH // WRITERS):
                    counter = f"k{(writer + turn) % KEYS}"
                    await stage.count(counter, database=stage.databases[writer % 2], slow=0.05)

            await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
            await stage.until(KEYS * EACH)
            assert sum(map(len, (await stage.effects()).values())) == KEYS * EACH
            for counter, numbers in (await stage.effects()).items():
                assert numbers == sorted(numbers), counter
                assert len(numbers) == len(set(numbers)), counter
            by_key = {}
            for envelope in await stage.logged():
                by_key.setdefault(envelope.key, []).append((envelope.sequence, envelope.data["n"]))
            for key, seen in by_key.items():
                firsts = list(dict.fromkeys(seen))  # the relay may hand an event over twice, never out of turn
                assert firsts == [(n, n) for n in range(1, len(firsts) + 1)], key

    asyncio.run(main())


def test_what_is_rolled_back_was_never_recorded(staged):
    """Neither the state nor the event nor its number is used up by a transaction that fails."""

    async def main():
        async with staged() as stage:
            await stage.count("a")
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with stage.database.transaction() as tx:
                    await stage.outbox.record(tx, stage.Counted(counter="a", n=2))
                    raise KeyError
            await stage.count("a")
            rows = await stage.database.fetch_all("SELECT key, sequence FROM skerry_outbox ORDER BY id")
            assert [tuple(row) for row in rows] == [("a", 1), ("a", 2)]
            async with stage.database.transaction() as tx:
                pass
            with pytest.raises(NoTransaction):
                await stage.outbox.record(tx, stage.Counted(counter="a", n=3))

    asyncio.run(main())


def test_a_failing_event_takes_only_itself_back(staged):
    """Among events that share a transaction the others have their one effect; the failing one is tried, then dead."""

    async def main():
        async with staged() as stage:
            for n, counter in itertools.product(range(1, 6), ("a", "b")):
                del n
                await stage.count(counter)
            stage.broken = {3}
            async with stage.relaying():
                await stage.handed_over()
            stage.listen()
            await stage.until(4)
            async with asyncio.timeout(60):
                while (await stage.database.fetch_one("SELECT count(*) FROM skerry_parked WHERE state = 'dead'"))[
                    0
                ] < 2:
                    await asyncio.sleep(0.01)
            assert await stage.effects() == {"a": [1, 2], "b": [1, 2]}
            letters = await DeadLetters(stage.database).list()
            assert sorted((letter.key, letter.state) for letter in letters) == [
                ("a", "dead"), ("a", "held"), ("a", "held"), ("b", "dead"), ("b", "held"), ("b", "held"),
            ]  # fmt: skip
            assert stage.tries.count(3) == 6
            assert stage.tries.count(1) == 2
            stage.broken = set()
            for letter in letters:
                if letter.state == "dead":
                    assert await DeadLetters(stage.database).retry(letter.id)
            await stage.until(10)
            assert await stage.effects() == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}

    asyncio.run(main())


def test_a_batch_is_handled_in_one_call_and_one_by_one_when_it_fails(staged):
    """A handler of batches gets what waits together, in order; a failing one takes only its own event back."""

    async def main():
        async with staged() as stage:
            for _ in range(30):
                await stage.count("a")
                await stage.count("b")
            async with stage.relaying():
                await stage.handed_over()
            sizes = []

            async def handle(events, tx):
                sizes.append(len(events))
                for event in events:
                    await stage.handle(event, tx)

            stage.broken = {25}
            retry = Retry(2, base=0.01, cap=0.02)
            stage.bus.on(stage.Counted, inbox=stage.inbox, retry=retry, batch=10)(handle)
            stage.bus.start()
            await stage.until(48)
            async with asyncio.timeout(60):
                while (await stage.database.fetch_one("SELECT count(*) FROM skerry_parked WHERE state = 'dead'"))[
                    0
                ] < 2:
                    await asyncio.sleep(0.01)
            assert await stage.effects() == {"a": list(range(1, 25)), "b": list(range(1, 25))}
            assert max(sizes) == 10
            assert 1 in sizes

    asyncio.run(main())


def test_a_delayed_event_waits_and_stands_in_nobodys_way(staged):
    """It is handed over no sooner than asked; events recorded later go first, and their numbers do not count it."""

    async def main():
        async with staged() as stage:
            async with stage.database.transaction() as tx:
                await stage.outbox.record(tx, stage.Counted(counter="a", n=99), delay=3600.0)
                await stage.outbox.record(tx, stage.Counted(counter="a", n=98), delay=0.001)
                await stage.outbox.record(tx, stage.Counted(counter="a", n=1))
            async with stage.relaying():
                stage.listen()
                await stage.until(2)
            assert sorted((await stage.effects())["a"]) == [1, 98]
            rows = await stage.database.fetch_all("SELECT sequence FROM skerry_outbox")
            assert [row[0] for row in rows] == [0]
            assert [(e.data["n"], e.sequence) for e in await stage.logged() if e.sequence] == [(1, 1)]

    asyncio.run(main())


def test_the_next_relay_goes_on_where_the_last_one_stopped(staged):
    """Whoever leads afterwards hands over what was recorded meanwhile, once."""

    async def main():
        async with staged(writers=2) as stage:
            for relays in (1, 2, 1):
                await stage.count("a")
                async with stage.relaying(relays=relays):
                    await stage.count("a")
                    await stage.handed_over()
            assert [envelope.data["n"] for envelope in await stage.logged()] == [1, 2, 3, 4, 5, 6]

    asyncio.run(main())


def test_a_group_that_waits_for_gaps_sees_overtaken_events_in_order(staged):
    """Events of two keys whose broker hands them out in any order are handled by their numbers, with nothing left over."""

    async def main():
        async with staged() as stage:
            stage.listen(gaps=60.0)
            sealed = [
                replace(stage.outbox.seal(stage.Counted(counter=counter, n=n)), sequence=n)
                for n in (3, 1, 5, 2, 4)
                for counter in ("a", "b")
            ]
            for envelope in sealed:
                await stage.broker.publish([message(envelope)])
            await stage.until(10)
            assert await stage.effects() == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}
            assert not await stage.database.fetch_all("SELECT 1 FROM skerry_parked")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("part", "named", "reason"),
    [("id", "id", "the attribute id holds a NUL"), ("key", "partitionkey", "the attribute partitionkey holds a NUL"),
     ("id", "", "the envelope is not the one the message was routed by")],
)  # fmt: skip
def test_what_no_database_takes_is_a_dead_letter_that_says_so(staged, part, named, reason):
    """An id or key with a NUL is no event, whatever the engine: dead at once, no duplicate, and others go on."""

    async def main():
        async with staged() as stage:
            sent = [message(stage.outbox.seal(stage.Counted(counter=key, n=n))) for n, key in enumerate("aba", 1)]
            attributes = json.loads(sent[1].body)
            bad = f"{sent[0].id if part == 'id' else 'a'}\x00x"
            sent[1] = replace(sent[1], **{part: bad}, body=json.dumps(attributes | ({named: bad} if named else {})))
            stage.broken = {0}
            await stage.broker.publish([message(stage.outbox.seal(stage.Counted(counter="c", n=0))), *sent])
            stage.listen(retry=Retry(2, base=600.0, cap=600.0))
            await stage.until(2)
            assert await stage.effects() == {"a": [1, 3]}
            (letter,) = await DeadLetters(stage.database).list()
            assert (letter.state, letter.attempts, letter.reason) == ("dead", 1, f"InvalidEvent: {reason}")
            assert getattr(letter, {"id": "event_id"}.get(part, part)) == bad.replace("\x00", "\ufffd")

    asyncio.run(main())


def test_a_write_left_for_later_fails_with_its_own_event(staged):
    """Its error comes with a statement of the next event, which is not to blame: it is handled, the other is dead."""

    async def main():
        async with staged() as stage:

            async def handle(event, tx):
                await stage.handle(event, tx)
                if event.counter == "x":
                    tx.later("INSERT INTO counters VALUES ('x', NULL)")

            stage.bus.on(stage.Counted, inbox=stage.inbox, retry=Retry(1))(handle)
            await stage.bus.publish(*(stage.Counted(counter=counter, n=n) for n, counter in enumerate("xy", 1)))
            stage.bus.start()
            await stage.until(1)
            async with asyncio.timeout(60):
                while not (letters := await DeadLetters(stage.database).list()):
                    await asyncio.sleep(0.01)
            assert [letter.key for letter in letters] == ["x"]
            assert await stage.effects() == {"y": [2]}

    asyncio.run(main())


@pytest.mark.parametrize("part", ["id", "key"])
def test_what_no_index_has_room_for_is_a_dead_letter(staged, part):
    """A message of others with an id or key of a thousand odd letters keeps no group from going on; two of them stay two."""
    odd = "".join(random.Random(7).choices([chr(code) for code in range(0x10000, 0x10FFF)], k=1000))

    async def main():
        async with staged() as stage:
            good, *others = (message(stage.outbox.seal(stage.Counted(counter=key, n=1))) for key in "abc")
            bad = [replace(each, **{part: odd + end}) for each, end in zip(others, "xy", strict=True)]
            await stage.broker.publish([*bad, bad[0], good])
            stage.listen()
            await stage.until(1)
            assert await stage.effects() == {"a": [1]}
            letters = await DeadLetters(stage.database).list()
            assert {letter.reason for letter in letters} == {
                "InvalidEvent: the envelope is not the one the message was routed by"
            }
            assert len({(letter.event_id, letter.key) for letter in letters}) == len(letters) == 2

    asyncio.run(main())
