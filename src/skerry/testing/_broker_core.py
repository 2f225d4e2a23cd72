"""The core of the conformance suite: what holds for every broker."""

from __future__ import annotations

import asyncio

from skerry.errors import EventError
from skerry.testing._broker_bench import (
    LIMIT,
    TYPE,
    Bench,
    becomes,
    by_key,
    case,
    expected,
    numbers,
    positions,
    raises,
)


@case()
async def a_message_arrives_as_it_was(bench: Bench) -> None:
    """Id, type, key and body come out as they went in."""
    broker, subscription = await bench.pair()
    message = bench.message("ä", key="Größe/1 %41", body='{"text":"žluťoučký 🐎\\n"}')
    await broker.publish([message])
    assert [delivery.message for delivery in await bench.collect(subscription, 1)] == [message]


@case()
async def a_batch_keeps_its_order(bench: Bench) -> None:
    """A large batch of one key arrives in the order it was published, each message once."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(700)))
    found = await bench.drained(subscription, lambda found: len(found) >= 700)
    assert found == expected(*range(700))


@case()
async def batches_keep_their_order(bench: Bench) -> None:
    """Over many batches each key keeps its order."""
    broker, subscription = await bench.pair()
    for start in range(0, 60, 6):
        await broker.publish([bench.message(n, key=f"k{n % 3}") for n in range(start, start + 6)])
    found = by_key(await bench.collect(subscription, 60))
    assert found == {f"k{k}": expected(*range(k, 60, 3)) for k in range(3)}


@case(needs=lambda features: features.order == "source")
async def a_source_keeps_its_order(bench: Bench) -> None:
    """The order holds for a whole source, over all keys and types."""
    broker, subscription = await bench.pair(TYPE, "suite.other")
    types = (TYPE, "suite.other")
    await broker.publish([bench.message(n, key=f"k{n % 7}", type=types[n % 2]) for n in range(100)])
    assert numbers(await bench.collect(subscription, 100)) == expected(*range(100))


@case()
async def an_empty_batch_is_nothing(bench: Bench) -> None:
    """Publishing nothing is allowed and delivers nothing."""
    broker, subscription = await bench.pair()
    await broker.publish([])
    await bench.nothing(subscription)


@case()
async def every_group_gets_everything(bench: Bench) -> None:
    """Two groups get the same messages, each at its own pace."""
    broker = bench.broker()
    one, two = await broker.subscribe("one", {TYPE}, {}), await broker.subscribe("two", {TYPE}, {})
    await broker.publish(bench.messages(1, 2, 3))
    first = await bench.collect(one, 3)
    await one.ack(first)
    assert numbers(first) == numbers(await bench.collect(two, 3)) == expected(1, 2, 3)


@case()
async def every_source_is_read(bench: Bench) -> None:
    """A group gets what all services publish, each in its order."""
    order, subscription = await bench.pair()
    payment = bench.broker("payment")
    for n in range(3):
        await order.publish([bench.message(f"o{n}", key="o")])
        await payment.publish([bench.message(f"p{n}", key="p")])
    found = await bench.collect(subscription, 6)
    assert by_key(found) == {"o": expected("o0", "o1", "o2"), "p": expected("p0", "p1", "p2")}
    assert len({delivery.source for delivery in found}) == 2


@case()
async def a_source_that_comes_later_is_found(bench: Bench) -> None:
    """A subscription that is older than a service hears it from its first message on."""
    order, subscription = await bench.pair()
    await order.publish(bench.messages(1))
    await bench.collect(subscription, 1)
    late = bench.broker("late")
    await late.publish(bench.messages(2, 3))
    assert numbers(await bench.collect(subscription, 2)) == expected(2, 3)


@case()
async def only_wanted_types_come(bench: Bench) -> None:
    """Other types are passed over, whether the names are alike or not."""
    broker, subscription = await bench.pair("a.b", "a.c")
    types = ["a.b", "a", "a.b.c", "a.c", "a.x", "A.B"]
    await broker.publish([bench.message(n, type=name) for n, name in enumerate(types)])
    assert numbers(await bench.collect(subscription, 2)) == expected(0, 3)
    await bench.nothing(subscription)


@case()
async def odd_types_are_types(bench: Bench) -> None:
    """Signs that mean something to a broker mean nothing in the name of a type."""
    types = ["a.*", "a.>", "a..b", ".", "#", "a b", "ü/ñ", "x" * 120, "a_b", "a-b:c"]
    broker, subscription = await bench.pair(*types)
    await broker.publish([bench.message(n, type=name) for n, name in enumerate(types)])
    await broker.publish([bench.message("other", type="a.c"), bench.message("last", type="#")])
    found = await bench.collect(subscription, len(types) + 1)
    assert [delivery.message.type for delivery in found] == [*types, "#"]


@case()
async def odd_sources_are_sources(bench: Bench) -> None:
    """Names of services with dots, dashes and underscores do not get mixed up."""
    names = ["a.b", "a-b", "a_b", "A.b"]
    subscription = (await bench.pair())[1]
    for name in names:
        await bench.broker(name).publish([bench.message(name, key=name)])
    found = await bench.collect(subscription, len(names))
    assert sorted(numbers(found)) == sorted(names)
    assert len({delivery.source for delivery in found}) == len(names)


@case()
async def odd_keys_are_keys(bench: Bench) -> None:
    """A key may hold anything that text can, at 255 characters too."""
    broker, subscription = await bench.pair()
    keys = ["日本", "a b", "%41", "a:b", "'\"", "x" * 255, "é", "\u2028"]
    await broker.publish([bench.message(n, key=key) for n, key in enumerate(keys)])
    found = {delivery.message.id: delivery.message.key for delivery in await bench.collect(subscription, len(keys))}
    assert [found[bench.message(n).id] for n in range(len(keys))] == keys


@case()
async def a_large_body_arrives(bench: Bench) -> None:
    """The largest body an adapter declares arrives whole, between small ones."""
    broker, subscription = await bench.pair()
    large = bench.message("large", body='{"x":"' + "y" * (broker.features.max_body - 8) + '"}')
    await broker.publish([bench.message(1), large, bench.message(2)])
    found = await bench.collect(subscription, 3)
    assert [delivery.message for delivery in found] == [bench.message(1), large, bench.message(2)]


@case()
async def many_large_bodies_arrive(bench: Bench) -> None:
    """A backlog of large bodies arrives in order: what is read ahead is bounded, not what can be read."""
    broker, subscription = await bench.pair()
    body = '{"x":"' + "y" * (broker.features.max_body // 2) + '"}'
    for start in range(0, 24, 8):
        await broker.publish([bench.message(n, body=body) for n in range(start, start + 8)])
    found: list[str] = []
    while len(found) < 24:
        part = await subscription.fetch(5, wait=1.0)
        await subscription.ack(part)
        found += numbers(part)
    assert found == expected(*range(24))


@case()
async def a_fetch_keeps_its_limit(bench: Bench) -> None:
    """A fetch returns at most what was asked for, and nothing is lost over many small ones."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(20)))
    found: list[str] = []
    while len(found) < 20:
        part = await subscription.fetch(3, wait=1.0)
        assert len(part) <= 3
        found += numbers(part)
    assert found == expected(*range(20))


@case()
async def an_empty_fetch_is_empty(bench: Bench) -> None:
    """With nothing there a fetch returns an empty list, without waiting and after waiting."""
    subscription = (await bench.pair())[1]
    assert list(await subscription.fetch(10, wait=0.0)) == []
    assert list(await subscription.fetch(10, wait=0.05)) == []


@case()
async def a_waiting_fetch_is_woken(bench: Bench) -> None:
    """A fetch that waits returns with what is published meanwhile."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    await bench.collect(subscription, 1)
    waiting = asyncio.ensure_future(subscription.fetch(10, wait=LIMIT))
    await bench.clock.sleep(0.05)
    await broker.publish(bench.messages(2))
    assert numbers(await waiting) == expected(2)


@case()
async def a_cancelled_fetch_has_fetched_nothing(bench: Bench) -> None:
    """What was on its way to a fetch that was cancelled comes with the next."""
    broker, subscription = await bench.pair()
    for n in range(8):
        waiting = asyncio.ensure_future(subscription.fetch(10, wait=LIMIT))
        await bench.clock.sleep(0.002 * n)
        publishing = asyncio.ensure_future(broker.publish(bench.messages(n)))
        await bench.clock.sleep(0.001 * n)
        waiting.cancel()
        await publishing
        fetched = (await asyncio.gather(waiting, return_exceptions=True))[0]
        found = [] if isinstance(fetched, BaseException) else numbers(fetched)
        assert found or numbers(await bench.collect(subscription, 1)) == expected(n)
    await bench.nothing(subscription)


@case()
async def closing_ends_a_waiting_fetch(bench: Bench) -> None:
    """A fetch that waits while its subscription closes raises EventError."""
    subscription = (await bench.pair())[1]
    waiting = asyncio.ensure_future(subscription.fetch(10, wait=LIMIT))
    await bench.clock.sleep(0.05)
    await subscription.close()
    await raises(EventError, waiting)


@case()
async def what_is_closed_stays_closed(bench: Bench) -> None:
    """Close may come twice; afterwards everything else raises EventError."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    await subscription.close()
    await subscription.close()
    await raises(EventError, subscription.fetch(1, wait=0.0))
    await raises(EventError, subscription.lag())
    other = await broker.subscribe("other", {TYPE}, {})
    await broker.close()
    await broker.close()
    await raises(EventError, other.fetch(1, wait=0.0))
    await raises(EventError, broker.publish(bench.messages(2)))
    await raises(EventError, broker.subscribe("g", {TYPE}, {}))


@case()
async def a_broker_that_was_never_used_closes(bench: Bench) -> None:
    """A broker asks for nothing before its first use, and closes all the same."""
    await bench.broker().close()


@case()
async def a_successor_goes_on(bench: Bench) -> None:
    """After a subscription ended, the next of its group begins behind what was handled, and misses nothing."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(10)))
    found = await bench.collect(subscription, 10, limit=4)
    await subscription.ack(found[:6])
    await subscription.close()
    successor = await bench.broker().subscribe("g", {TYPE}, positions(found[:6]))
    assert numbers(await bench.collect(successor, 4)) == expected(6, 7, 8, 9)
    await bench.nothing(successor)


@case()
async def nothing_is_lost_between_subscriptions(bench: Bench) -> None:
    """What is published while nobody reads for a group waits for its next subscription."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    found = await bench.collect(subscription, 1)
    await subscription.ack(found)
    await subscription.close()
    await broker.publish(bench.messages(2, 3))
    successor = await broker.subscribe("g", {TYPE}, positions(found))
    assert numbers(await bench.collect(successor, 2)) == expected(2, 3)


@case()
async def what_is_refused_comes_again(bench: Bench) -> None:
    """After nack the message and what was fetched behind it come again, in order."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(6)))
    found = await bench.collect(subscription, 6)
    await subscription.ack(found[:2])
    await subscription.nack(found[2])
    again = await bench.collect(subscription, 4)
    assert numbers(again) == expected(2, 3, 4, 5)
    await subscription.nack(again[0])
    assert numbers(await bench.collect(subscription, 4)) == expected(2, 3, 4, 5)
    await bench.nothing(subscription)


@case()
async def a_delayed_message_holds_its_source(bench: Bench) -> None:
    """What was refused with a delay does not come sooner, nor does anything behind it; another source goes on."""
    order, subscription = await bench.pair()
    payment = bench.broker("payment")
    await order.publish(bench.messages(1, 2))
    first = await bench.collect(subscription, 2)
    refused = bench.clock.monotonic()
    await subscription.nack(first[0], delay=0.5)
    await order.publish(bench.messages(3))
    await payment.publish([bench.message("other", key="p")])
    came: dict[str, float] = {}
    found: list[str] = []
    while len(found) < 4:
        part = numbers(await subscription.fetch(10, wait=1.0))
        found += part
        came |= dict.fromkeys(part, bench.clock.monotonic())
    assert [number for number in found if number != "other"] == expected(1, 2, 3)
    assert came["1"] - refused >= 0.5


@case()
async def a_message_may_be_refused_often(bench: Bench) -> None:
    """A message that is refused over and over stays the first of its key."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2))
    for _ in range(10):
        found = await bench.collect(subscription, 1, limit=1)
        assert numbers(found) == expected(1)
        await subscription.nack(found[0])
    assert numbers(await bench.collect(subscription, 2)) == expected(1, 2)


@case()
async def lag_counts_what_was_not_fetched(bench: Bench) -> None:
    """Lag falls from all to nothing as messages are fetched, and grows again with what is published."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(5)))
    await becomes(subscription.lag, 5, bench.clock)
    await bench.collect(subscription, 2, limit=2)
    await becomes(subscription.lag, 3, bench.clock)
    await bench.collect(subscription, 3)
    await becomes(subscription.lag, 0, bench.clock)
    await broker.publish(bench.messages(5))
    await becomes(subscription.lag, 1, bench.clock)


@case(needs=lambda features: features.exact_lag)
async def lag_counts_wanted_types_only(bench: Bench) -> None:
    """Lag does not count what the group does not want."""
    broker, subscription = await bench.pair()
    await broker.publish([bench.message(n, type=TYPE if n % 2 else "suite.other") for n in range(8)])
    await becomes(subscription.lag, 4, bench.clock)


@case()
async def concurrent_publishes_do_not_mix(bench: Bench) -> None:
    """Batches published at the same time arrive one behind the other, each in its order."""
    broker, subscription = await bench.pair()
    batches = [[bench.message(f"{b}.{n}") for n in range(20)] for b in range(5)]
    await asyncio.gather(*(broker.publish(batch) for batch in batches))
    found = numbers(await bench.collect(subscription, 100))
    assert sorted({number.partition(".")[0] for number in found}) == expected(*range(5))
    assert found == sorted(found, key=lambda number: found.index(number.partition(".")[0] + ".0"))


@case()
async def a_cancelled_publish_does_no_harm(bench: Bench) -> None:
    """After a publish that was cancelled the same batch can be published again, and its order stays."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(0))
    batch = bench.messages(*range(1, 301))
    for n in range(4):
        publishing = asyncio.ensure_future(broker.publish(batch))
        await bench.clock.sleep(0.002 * n)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    await bench.repeated(lambda: broker.publish(batch))
    await bench.repeated(lambda: broker.publish(bench.messages(999)))
    found = await bench.drained(subscription, lambda found: "999" in found)
    assert list(dict.fromkeys(found)) == expected(*range(301), 999)


@case()
async def a_backlog_is_read_in_order(bench: Bench) -> None:
    """A backlog larger than what is read ahead arrives whole and in order."""
    broker, subscription = await bench.pair()
    for start in range(0, 2000, 500):
        await broker.publish(bench.messages(*range(start, start + 500)))
    found = await bench.drained(subscription, lambda found: len(found) >= 2000)
    assert found == expected(*range(2000))


@case()
async def a_busy_source_does_not_starve_another(bench: Bench) -> None:
    """A message of a quiet source comes although a busy one has a long backlog."""
    busy, subscription = await bench.pair()
    quiet = bench.broker("quiet")
    await quiet.publish([bench.message("first", key="q")])
    await bench.collect(subscription, 1)
    await busy.publish(bench.messages(*range(1000)))
    await quiet.publish([bench.message("quiet", key="q")])
    seen: list[str] = []
    while "quiet" not in seen:
        part = await subscription.fetch(20, wait=1.0)
        await subscription.ack(part)
        seen += numbers(part)
    assert len(seen) <= 1001


@case()
async def a_drained_broker_hands_out_nothing(bench: Bench) -> None:
    """After drain a fetch is empty and publish refused, but what was fetched can be acknowledged."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1, 2, 3))
    found = await bench.collect(subscription, 1, limit=1)
    await broker.drain()
    assert list(await subscription.fetch(10, wait=0.05)) == []
    await raises(EventError, broker.publish(bench.messages(4)))
    await subscription.ack(found)
    await broker.close()
    successor = await bench.broker().subscribe("g", {TYPE}, positions(found))
    assert numbers(await bench.collect(successor, 2)) == expected(2, 3)
    await bench.nothing(successor)


@case()
async def draining_waits_for_what_is_published(bench: Bench) -> None:
    """Drain returns when a publish that was under way is safe."""
    broker, _ = await bench.pair()
    watcher = await bench.broker("watcher").subscribe("watchers", {TYPE}, {})
    publishing = asyncio.ensure_future(broker.publish(bench.messages(*range(50))))
    await bench.clock.sleep(0.0)
    await broker.drain()
    assert numbers(await bench.collect(watcher, 50)) == expected(*range(50))
    await publishing
