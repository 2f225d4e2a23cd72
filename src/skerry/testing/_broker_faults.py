"""The part of the conformance suite about brokers that go away, and about messages of others."""

from __future__ import annotations

import asyncio
import traceback

from skerry.errors import BrokerUnavailable, EventError, InvalidEvent
from skerry.events.envelope import MAX_BYTES, Envelope
from skerry.testing._broker_bench import LIMIT, TYPE, Bench, case, expected, numbers, positions, raises


@case(server=True)
async def what_was_published_survives_a_kill(bench: Bench) -> None:
    """What was acknowledged is there after SIGKILL, once and in order, or the broker's features do not say so."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(*range(50)))
    first = await bench.collect(subscription, 10, limit=10)
    await subscription.ack(first)
    await _restart(bench)
    if not broker.features.survives_kill:
        await bench.repeated(lambda: broker.subscribe("another", {TYPE}, {}))
        return
    successor = await bench.repeated(lambda: bench.broker().subscribe("g", {TYPE}, positions(first)))
    found: list[str] = []
    while len(found) < 40:
        found += numbers(await bench.repeated(lambda: successor.fetch(100, wait=1.0)))
    assert found == expected(*range(10, 50))


@case(server=True)
async def both_sides_recover(bench: Bench) -> None:
    """While the broker is away publish and fetch raise BrokerUnavailable; afterwards both go on, and nothing is lost."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    found = await bench.collect(subscription, 1)
    await subscription.ack(found)
    assert bench.stage.server is not None
    waiting = asyncio.ensure_future(subscription.fetch(10, wait=LIMIT))
    await bench.clock.sleep(0.0)
    await asyncio.to_thread(bench.stage.server.kill)
    try:
        errors = [await raises(BrokerUnavailable, waiting)]
        errors.append(await raises(BrokerUnavailable, broker.publish(bench.messages(2))))
        errors.append(await raises(BrokerUnavailable, bench.broker("other").publish(bench.messages(2))))
        errors.append(await raises(BrokerUnavailable, _subscribed(bench)))
    finally:
        await asyncio.to_thread(bench.stage.server.start)
    for error in errors:
        _check_secrets(bench, error)
    await bench.repeated(lambda: broker.publish(bench.messages(2, 3)))
    if not broker.features.survives_kill:
        subscription = await bench.repeated(lambda: broker.subscribe("another", {TYPE}, {}))
    seen: list[str] = []
    while "3" not in seen:
        part = await bench.repeated(lambda: subscription.fetch(10, wait=1.0))
        seen += numbers(part)
    assert list(dict.fromkeys(seen)) == expected(2, 3)


@case(server=True)
async def a_broker_that_is_not_there_is_named(bench: Bench) -> None:
    """Making a broker asks for nothing; its first use says who could not be reached, without password, in bounded time."""
    assert bench.stage.unreachable is not None
    broker = bench.stage.unreachable("order")
    try:
        for error in (
            await raises(BrokerUnavailable, broker.publish(bench.messages(1))),
            await raises(BrokerUnavailable, _fetched(broker)),
        ):
            assert "127.0.0.1:" in str(error)
            _check_secrets(bench, error)
    finally:
        await broker.close()


@case(foreign=True)
async def messages_of_others_do_no_harm(bench: Bench) -> None:
    """What is no envelope of ours is delivered as a message whose body no parser takes, and reading goes on."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    assert bench.stage.foreign is not None
    theirs = Envelope("theirs", "other", TYPE, "2026-01-01T00:00:00Z", "their key", 1, {"n": "n"}).to_json().encode()
    bodies = [b"", b"not json", b"\xff\xfe\x00", b'{"specversion":"9"}', b"7" * 100_000, b"[" * 100_000]
    bodies += [
        theirs.replace(b'"n":"n"', b'"n":"' + raw + b'"') for raw in (b"\xff", b"\xed\xa0\x80", b"\x00", b"\\ud800")
    ]
    for body in bodies:
        await bench.stage.foreign("order", TYPE, body)
    await _published(bench, 2)
    found = await bench.collect(subscription, len(bodies) + 2)
    ours = [delivery for delivery in found if delivery.message.key == "k"]
    assert numbers(ours) == expected(1, 2)
    others = [delivery.message for delivery in found if delivery.message.key != "k"]
    assert len({message.id for message in others}) == len(bodies)
    for message in others:
        assert message.type == TYPE
        assert message.id
        await raises(InvalidEvent, _parsed(message.body))


@case(foreign=True)
async def a_batch_behind_a_message_of_others_is_whole(bench: Bench) -> None:
    """A batch that is published after somebody else wrote is there whole and in order, at the latest when it is repeated."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    assert bench.stage.foreign is not None
    await bench.stage.foreign("order", TYPE, b"theirs")
    await bench.repeated(lambda: broker.publish(bench.messages(*range(2, 40))))
    await bench.repeated(lambda: broker.publish(bench.messages(40)))
    found: list[str] = []
    while "40" not in found:
        part = await subscription.fetch(100, wait=1.0)
        found += numbers([delivery for delivery in part if delivery.message.key == "k"])
    assert list(dict.fromkeys(found)) == expected(*range(1, 41))


@case(foreign=True)
async def an_envelope_of_others_is_read(bench: Bench) -> None:
    """A CloudEvents envelope without our headers is delivered with its own source and id, type and key."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    await bench.collect(subscription, 1)
    assert bench.stage.foreign is not None
    body = Envelope("theirs", "other", TYPE, "2026-01-01T00:00:00Z", "their key", 1, {"n": 1}).to_json()
    await bench.stage.foreign("order", TYPE, body.encode())
    message = (await bench.collect(subscription, 1))[0].message
    assert (message.id, message.type, message.key, message.body) == ("other theirs", TYPE, "their key", body)


@case(foreign=True)
async def a_body_that_is_too_large_is_cut(bench: Bench) -> None:
    """A body above 1 MiB is delivered cut, as one that no parser takes."""
    broker, subscription = await bench.pair()
    await broker.publish(bench.messages(1))
    await bench.collect(subscription, 1)
    assert bench.stage.foreign is not None
    await bench.stage.foreign("order", TYPE, b'{"x":"' + b"y" * (MAX_BYTES + 1) + b'"}')
    message = (await bench.collect(subscription, 1))[0].message
    assert len(message.body) < 10_000
    await raises(InvalidEvent, _parsed(message.body))


async def _restart(bench: Bench) -> None:
    assert bench.stage.server is not None
    await asyncio.to_thread(bench.stage.server.kill)
    await asyncio.to_thread(bench.stage.server.start)


async def _subscribed(bench: Bench) -> object:
    subscription = await bench.broker("other").subscribe("other", {TYPE}, {})
    return await subscription.fetch(1, wait=1.0)


async def _fetched(broker: object) -> object:
    subscription = await broker.subscribe("g", {TYPE}, {})  # type: ignore[attr-defined]
    return await subscription.fetch(1, wait=1.0)


async def _published(bench: Bench, n: int) -> None:
    """Publish as the relay does: again when somebody else wrote meanwhile."""
    broker = bench.broker()
    await bench.repeated(lambda: broker.publish(bench.messages(n)))


async def _parsed(body: str) -> Envelope:
    return Envelope.from_json(body)


def _check_secrets(bench: Bench, error: EventError) -> None:
    shown = "".join(traceback.format_exception(error))
    assert not [secret for secret in bench.stage.secrets if secret in shown], "a secret is shown"
