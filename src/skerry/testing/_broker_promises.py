"""The part of the conformance suite that holds a broker to what its `Features` say."""

from __future__ import annotations

import asyncio

from skerry.errors import EventError, UnknownPosition
from skerry.events.brokers import Position
from skerry.testing._broker_bench import TYPE, Bench, becomes, by_key, case, expected, numbers, positions, raises


@case(needs=lambda features: features.positions)
async def a_group_begins_where_its_positions_say(bench: Bench) -> None:
    """From any position inside a batch, exactly what is behind it comes, again and again."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(10)))
    found = await bench.collect(subscription, 10)
    for handled in (1, 4, 9):
        one = await broker.subscribe("g", {TYPE}, positions(found[:handled]))
        assert numbers(await bench.collect(one, 10 - handled)) == expected(*range(handled, 10))
        await one.close()


@case(needs=lambda features: features.positions)
async def offsets_grow_within_an_epoch(bench: Bench) -> None:
    """Per source offsets only grow, and the epoch is the same for every broker and every batch."""
    broker, subscription = await bench.pair()
    await broker.publish([bench.message(n, key=f"k{n}") for n in range(20)])
    await broker.close()
    broker, subscription = await bench.pair()
    await broker.publish([bench.message(n, key=f"k{n}") for n in range(20, 40)])
    found = await bench.collect(subscription, 40)
    for source in {delivery.source for delivery in found}:
        steps = [delivery.position for delivery in found if delivery.source == source]
        offsets = [step.offset for step in steps if step is not None]
        assert offsets == sorted(set(offsets))
        assert len(offsets) == len(steps)
        assert len({step.epoch for step in steps if step is not None}) == 1


@case(needs=lambda features: features.positions)
async def a_replaced_log_is_noticed(bench: Bench) -> None:
    """A position with another epoch raises UnknownPosition: that log is gone."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    found = await bench.collect(subscription, 2)
    at = {source: Position(position.offset, "another") for source, position in positions(found).items()}
    other = await broker.subscribe("g", {TYPE}, at)
    await raises(UnknownPosition, other.fetch(10, wait=5.0))


@case(needs=lambda features: features.positions)
async def a_log_that_lost_its_end_is_noticed(bench: Bench) -> None:
    """A position behind the end raises UnknownPosition: the log lost what was handled already."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    found = await bench.collect(subscription, 2)
    beyond = {
        source: Position(position.offset + 2**40, position.epoch) for source, position in positions(found).items()
    }
    other = await broker.subscribe("g", {TYPE}, beyond)
    await raises(UnknownPosition, other.fetch(10, wait=5.0))


@case(needs=lambda features: features.positions)
async def a_position_at_the_end_waits(bench: Bench) -> None:
    """From the last position nothing comes until something is published, and then exactly that."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    found = await bench.collect(subscription, 2)
    one = await broker.subscribe("g", {TYPE}, positions(found))
    await bench.nothing(one)
    await broker.publish(bench.messages(3))
    assert numbers(await bench.collect(one, 1)) == expected(3)


@case(needs=lambda features: features.positions)
async def what_was_not_committed_comes_again(bench: Bench) -> None:
    """A group whose process died before it wrote a position down gets everything again, at once and in order."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3))
    await subscription.ack(await bench.collect(subscription, 3))
    again = await bench.broker().subscribe("g", {TYPE}, {})
    assert numbers(await bench.collect(again, 3)) == expected(1, 2, 3)


@case(needs=lambda features: not features.positions)
async def what_was_not_acknowledged_comes_again(bench: Bench) -> None:
    """What was fetched and not acknowledged comes again in order when the subscription ends; what was, does not."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(6)))
    found = await bench.collect(subscription, 6)
    await subscription.ack([found[0], found[1], found[3]])
    await broker.close()
    successor = await bench.broker().subscribe("g", {TYPE}, {})
    assert numbers(await bench.collect(successor, 3)) == expected(2, 4, 5)
    await bench.nothing(successor)


@case(needs=lambda features: not features.positions)
async def a_second_reader_of_a_group_waits(bench: Bench) -> None:
    """While one subscription of a group is open a second one gets nothing, and takes over when the first has closed."""
    broker, first = await bench.pair()
    second = await bench.broker().subscribe("g", {TYPE}, {})
    await broker.publish(bench.messages(1, 2))
    await first.ack(await bench.collect(first, 2))
    await bench.nothing(second)
    await first.close()
    await broker.publish(bench.messages(3))
    assert numbers(await bench.collect(second, 1)) == expected(3)


@case(needs=lambda features: features.replay)
async def a_late_group_sees_the_past(bench: Bench) -> None:
    """A group that subscribes for the first time gets what was published before, and handled by others."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3))
    await subscription.ack(await bench.collect(subscription, 3))
    late = await bench.broker("other").subscribe("late", {TYPE}, {})
    assert numbers(await bench.collect(late, 3)) == expected(1, 2, 3)


@case(needs=lambda features: features.replay)
async def a_group_goes_back_to_the_start(bench: Bench) -> None:
    """After seek("start") everything comes again, and then what is new."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3))
    await bench.collect(subscription, 3)
    await subscription.seek("start")
    assert numbers(await bench.collect(subscription, 3)) == expected(1, 2, 3)
    await broker.publish(bench.messages(4))
    assert numbers(await bench.collect(subscription, 1)) == expected(4)


@case(needs=lambda features: features.replay)
async def a_group_skips_to_the_end(bench: Bench) -> None:
    """After seek("end") only what is published from then on comes."""
    broker = bench.broker()
    await broker.publish(bench.messages(*range(20)))
    subscription = await broker.subscribe("g", {TYPE}, {})
    await bench.collect(subscription, 1, limit=1)
    await subscription.seek("end")
    await becomes(subscription.lag, 0, bench.clock)
    await bench.nothing(subscription)
    await broker.publish(bench.messages(20))
    assert numbers(await bench.collect(subscription, 1)) == expected(20)


@case(needs=lambda features: features.replay)
async def a_group_goes_to_a_position(bench: Bench) -> None:
    """Seek goes on behind the positions it is given, and leaves other sources where they are."""
    order, subscription = await bench.pair()
    payment = bench.broker("payment")
    await order.publish(bench.messages(1, 2, 3))
    first = await bench.collect(subscription, 3)
    await payment.publish([bench.message("p", key="p")])
    await bench.collect(subscription, 1)
    await subscription.seek(positions(first[:1]))
    assert numbers(await bench.collect(subscription, 2)) == expected(2, 3)
    await bench.nothing(subscription)


@case(needs=lambda features: not features.replay)
async def a_broker_that_forgets_says_so(bench: Bench) -> None:
    """Seek raises EventError where handled messages do not stay."""
    subscription = (await bench.pair())[1]
    await raises(EventError, subscription.seek("start"))


@case(needs=lambda features: features.atomic)
async def a_batch_is_whole_or_not_there(bench: Bench) -> None:
    """A batch whose publishing was cancelled is there whole or not at all."""
    broker, subscription = await bench.pair()
    await broker.publish([bench.message("first")])
    for b in range(8):
        publishing = asyncio.ensure_future(broker.publish([bench.message(f"{b}.{n}", key=f"{b}") for n in range(100)]))
        await bench.clock.sleep(0.0005 * b)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    await bench.repeated(lambda: broker.publish([bench.message("last", key="last")]))
    found: dict[str, list[str]] = {}
    while "last" not in found:
        for key, part in by_key(await subscription.fetch(500, wait=1.0)).items():
            found.setdefault(key, []).extend(part)
    assert {len(part) for key, part in found.items() if key not in {"k", "last"}} <= {100}


@case(needs=lambda features: features.fenced)
async def a_writer_that_was_overtaken_is_refused(bench: Bench) -> None:
    """Of two writers of one source the older cannot write behind the newer: nothing gets into the log unseen."""
    old, subscription = await bench.pair()
    new = bench.broker()
    await old.publish(bench.messages(1))
    try:
        await new.publish(bench.messages(2))
    except EventError:  # the older holds the log as long as it lives
        await old.publish(bench.messages(3))
        assert numbers(await bench.collect(subscription, 2)) == expected(1, 3)
    else:
        await raises(EventError, old.publish(bench.messages(3)))
        await new.publish(bench.messages(4))
        assert numbers(await bench.collect(subscription, 3)) == expected(1, 2, 4)
    await bench.nothing(subscription)


@case(needs=lambda features: features.shared)
async def writers_of_one_source_share_it_by_key(bench: Bench) -> None:
    """Two writers of one source publish keys of their own at the same time: neither is refused, each key keeps its order."""
    one, subscription = await bench.pair()
    writers = (one, bench.broker())
    for start in range(0, 40, 4):
        parts = [[bench.message(f"{k}-{n}", key=f"k{k}") for n in range(start, start + 4)] for k in (0, 1)]
        await asyncio.gather(*(writer.publish(part) for writer, part in zip(writers, parts, strict=True)))
    found = by_key(await bench.collect(subscription, 80))
    assert found == {f"k{k}": [f"{k}-{n}" for n in range(40)] for k in (0, 1)}


@case(needs=lambda features: features.deduplicates)
async def a_repeated_batch_is_there_once(bench: Bench) -> None:
    """A batch that a successor publishes again, with more behind it, adds only what was not there."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3))
    await broker.close()
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3, 4, 5))
    await broker.publish(bench.messages(6))
    assert numbers(await bench.collect(subscription, 6)) == expected(1, 2, 3, 4, 5, 6)
    await bench.nothing(subscription)


@case(needs=lambda features: features.deduplicates)
async def a_batch_of_known_messages_adds_nothing(bench: Bench) -> None:
    """A successor that publishes only what is there already succeeds and adds nothing; then it goes on."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    await broker.close()
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    await broker.publish(bench.messages(3))
    assert numbers(await bench.collect(subscription, 3)) == expected(1, 2, 3)
    await bench.nothing(subscription)
