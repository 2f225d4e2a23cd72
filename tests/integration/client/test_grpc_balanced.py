"""Calls over gRPC by the balancer: what happens to calls, streams and channels when instances fail, come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_peers import Peer, echo, fails, hang, many, one, serving, talk, upload
from hearing import heard, until

from skerry.client.discovery import Answer, Endpoint, Located
from skerry.client.grpc import grpc_channel
from skerry.client.grpc.balanced import BalancedChannel
from skerry.client.grpc.instances import Instances
from skerry.errors import ConnectionLost, SkerryError, Unreachable
from skerry.resilience import Policy, Retry
from skerry.signals import DiscoveryFailed, InstanceEjected, InstancesChanged

BOUND = 60.0


class Told:
    """A resolver that a test tells what to answer; each answer is given once, and waited for."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self._answers: asyncio.Queue[tuple[Endpoint, ...]] = asyncio.Queue()
        self._answers.put_nowait(endpoints)

    def say(self, *endpoints: Endpoint) -> None:
        self._answers.put_nowait(endpoints)

    async def resolve(self) -> Answer:
        return Answer(await self._answers.get())

    async def aclose(self) -> None: ...


def at(peer: Peer, **told: Any) -> Endpoint:
    return Endpoint("127.0.0.1", int(peer.url.rpartition(":")[2]), **told)


def policy(**parts: Any) -> Policy:
    return Policy("peer", **{"total": BOUND, **parts})


@asynccontextmanager
async def calling(told: Told, **options: Any) -> AsyncIterator[tuple[grpc.aio.Channel, Instances]]:
    """A channel to whatever `told` tells of, as to an address of discovery."""
    there = Located("http://peer", told, named=True)
    channel = grpc_channel("peer", instances=there, **{"policy": policy(), **options})
    assert isinstance(channel, BalancedChannel)
    async with asyncio.timeout(BOUND), channel:
        yield channel, channel._instances


def play(main: Any) -> None:
    asyncio.run(main)


def test_every_kind_of_call_goes_to_an_instance() -> None:
    """With messages and metadata as they are, made by the stub's own functions, in the name of the service."""

    async def main() -> None:
        async with serving(echo) as peer, calling(Told(at(peer))) as (channel, _):
            upper = channel.unary_unary(
                "/peer.Peer/Do",
                request_serializer=str.encode,
                response_deserializer=lambda told: told.decode().upper(),
                _registered_method=True,
            )
            assert await upper("abc", metadata=(("x-own", "mine"),)) == "ABC"
            assert peer.metadata[0]["x-own"] == "mine"
            assert await one(channel)(b"x") == b"x"
            assert [each async for each in many(channel)(b"x")] == [b"first", b"x"]
            assert await upload(channel)(iter([b"a", b"b"])) == b"ab"
            assert [each async for each in talk(channel)(iter([b"a", b"b"]))] == [b"a", b"b"]
            talking = talk(channel)()
            await talking.write(b"one")
            assert await talking.read() == b"one"
            await talking.done_writing()
            assert await talking.read() is grpc.aio.EOF

    play(main())


def test_the_next_instance_is_tried_in_the_same_attempt() -> None:
    """Where there is no connection nothing was sent, so a call that may not be repeated goes on, and a stream too."""

    async def main() -> None:
        nobody = [Endpoint("127.0.0.1", port) for port in (1, 2)]
        async with serving(echo) as peer, calling(Told(*nobody, at(peer))) as (channel, _):
            for _ in range(10):
                assert await one(channel)(b"x") == b"x"
                assert await upload(channel)(iter([b"x"])) == b"x"
            assert len(peer.metadata) == 20

    play(main())


def test_what_was_sent_is_not_sent_to_another() -> None:
    """A lost answer is for the policy, and it repeats nothing that may have taken effect."""

    async def main() -> None:
        lost = fails(grpc.StatusCode.UNAVAILABLE)
        async with serving(lost) as first, serving(lost) as second:
            told = Told(at(first), at(second))
            async with calling(told, policy=policy(retry=Retry(3, base=0.01))) as (channel, _):
                with pytest.raises(ConnectionLost):
                    await one(channel)(b"x")
                assert len(first.metadata) + len(second.metadata) == 1

    play(main())


def test_a_safe_call_is_repeated_at_another() -> None:
    """The instance that failed counts as slow, so the next attempt hardly goes there."""

    async def main() -> None:
        async with serving(fails(grpc.StatusCode.UNAVAILABLE)) as ill, serving(echo) as well:
            options = {"policy": policy(retry=Retry(5, base=0.001)), "safe": ["/peer.Peer/Look"]}
            async with calling(Told(at(ill), at(well)), **options) as (channel, _):
                for _ in range(20):
                    assert await one(channel, "Look")(b"x") == b"x"
                assert len(well.metadata) == 20
                assert len(ill.metadata) < 10

    play(main())


@pytest.mark.parametrize(
    ("code", "bad"), [("INTERNAL", True), ("UNAVAILABLE", True), ("NOT_FOUND", False), ("UNIMPLEMENTED", False)]
)
@pytest.mark.parametrize("kind", ["one", "many"])
def test_an_instance_that_fails_call_after_call_is_ejected(kind: str, code: str, bad: bool) -> None:
    """By statuses that tell of an ill service, of streams also after their first answer; an answer that says no is none."""

    async def main() -> None:
        async with serving(fails(grpc.StatusCode[code])) as ill, serving(echo) as well:
            told = Told(at(ill), at(well))
            with heard() as signals:
                async with calling(told) as (channel, instances):
                    for _ in range(10_000):
                        if len(ill.metadata) >= 5:
                            break
                        with suppress(SkerryError):
                            if kind == "one":
                                await one(channel)(b"x")
                            else:
                                assert [each async for each in many(channel)(b"x")]
                        # what failed counts as slow: forget it, so that the ill one is drawn as often as the other
                        for instance in instances.balancer.instances:
                            instance._seconds = 0.0
                    if bad:
                        await until(signals, InstanceEjected)
                    assert any(isinstance(each, InstanceEjected) for each in signals) == bad
                    while any(each.busy for each in instances.balancer.instances):
                        await asyncio.sleep(0.01)

    play(main())


def test_one_that_is_added_gets_calls_and_one_that_goes_gets_none() -> None:
    """Its channel is closed with it, and an answer that names none changes nothing."""

    async def main() -> None:
        async with serving(echo) as first, serving(echo) as second:
            told = Told(at(first))
            with heard() as signals:
                async with calling(told) as (channel, instances):
                    assert await one(channel)(b"x") == b"x"
                    told.say(at(first), at(second))
                    while not second.metadata:
                        assert await one(channel)(b"x") == b"x"
                    assert instances.channels == 2
                    told.say(at(second))
                    await until(signals, InstancesChanged, 3)
                    before = len(first.metadata)
                    for _ in range(20):
                        assert await one(channel)(b"x") == b"x"
                    assert (len(first.metadata), instances.channels) == (before, 1)
                    told.say()
                    await until(signals, DiscoveryFailed)
                    assert await one(channel)(b"x") == b"x"

    play(main())


def test_a_stream_stays_where_it_began() -> None:
    """When its instance is no longer told of, it goes on to its end, and then the channel is closed."""

    async def main() -> None:
        async with serving(echo) as first, serving(echo) as second:
            told = Told(at(first))
            with heard() as signals:
                async with calling(told) as (channel, instances):
                    talking = talk(channel)()
                    await talking.write(b"one")
                    assert await talking.read() == b"one"
                    told.say(at(second))
                    await until(signals, InstancesChanged, 2)
                    assert await one(channel)(b"x") == b"x"
                    await talking.write(b"two")
                    assert await talking.read() == b"two"
                    assert instances.channels == 2
                    await talking.done_writing()
                    assert await talking.read() is grpc.aio.EOF
                    while instances.channels > 1:
                        await asyncio.sleep(0.01)
            assert (len(first.metadata), len(second.metadata)) == (2, 1)

    play(main())


@pytest.mark.parametrize("kind", ["one", "many"])
def test_closing_ends_the_calls_under_way(kind: str) -> None:
    """They are cancelled, there and here; what comes after is told that the channel is closed, as gRPC does it."""

    async def main() -> None:
        async with serving(hang) as peer, calling(Told(at(peer))) as (channel, instances):
            if kind == "one":
                call = one(channel)(b"x")
                waiting = asyncio.ensure_future(call.code())
            else:
                call = many(channel)(b"x")
                assert await call.read() == b"first"
                waiting = asyncio.ensure_future(call.read())
            while not peer.metadata:
                await asyncio.sleep(0.01)
            await channel.close()
            await peer.cancelled.wait()
            await asyncio.wait({waiting})
            assert instances.channels == 0
            assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
            with pytest.raises(grpc.aio.UsageError):
                await one(channel)(b"x")

    play(main())


def test_a_channel_says_whether_any_instance_is_connected() -> None:
    """So that what waits for a channel to be ready does so with several instances too."""

    async def main() -> None:
        async with serving(echo) as peer:
            told = Told(Endpoint("127.0.0.1", 1))
            async with calling(told) as (channel, _):
                assert channel.get_state() is grpc.ChannelConnectivity.IDLE
                ready = asyncio.ensure_future(channel.channel_ready())
                changed = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE))
                told.say(at(peer))
                await ready
                await changed
                assert channel.get_state() is grpc.ChannelConnectivity.READY

    play(main())


def test_no_more_channels_are_kept_than_the_bound_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """To instances in use the first is closed for the next; of those that calls are leaving, too, and its calls end."""
    monkeypatch.setattr("skerry.client.grpc.instances.MOST_CHANNELS", 1)
    monkeypatch.setattr("skerry.client.grpc.instances.MOST_LEAVING", 1)

    async def main() -> None:
        async with serving(hang) as first, serving(hang) as second, serving(echo) as third:
            told = Told(at(first))
            with heard() as signals:
                async with calling(told) as (channel, instances):
                    streams = []
                    for number, peer in enumerate((first, second, third)):
                        if number:
                            told.say(at(peer))
                            await until(signals, InstancesChanged, number + 1)
                        streams.append(many(channel)(b"x"))
                        assert await streams[-1].read() == b"first"
                        assert instances.channels <= 2
                    with pytest.raises((SkerryError, asyncio.CancelledError)):
                        await streams[0].read()
                    await first.cancelled.wait()
                    assert not second.cancelled.is_set()

    play(main())


def test_an_instance_has_to_prove_the_name_of_the_service() -> None:
    """Found by a name, it has a certificate for that name; one that has another is not sent anything."""
    authority = trustme.CA()
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())

    async def ask(name: str) -> int:
        certificate = authority.issue_cert(name)
        pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
        async with serving(tls=grpc.ssl_server_credentials([pair])) as peer:
            told = Located("https://stock.test:50051", Told(Endpoint("localhost", at(peer).port)), named=True)
            async with (
                asyncio.timeout(BOUND),
                grpc_channel("peer", instances=told, policy=policy(), tls=trust) as found,
            ):
                try:
                    await one(found)(b"x")
                except Unreachable:
                    assert not peer.metadata
                return len(peer.metadata)

    assert asyncio.run(ask("stock.test")) == 1
    assert asyncio.run(ask("other.test")) == 0


def test_several_are_called_over_tls_each_by_its_own_name() -> None:
    """Written down by name, each shows a certificate for its own."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    tls = grpc.ssl_server_credentials([pair])

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(tls=tls) as first, serving(tls=tls) as second:
            url = f"{first.url},{second.url.removeprefix('https://')}"
            async with grpc_channel("peer", url=url, policy=policy(), tls=trust) as channel:
                while not (first.metadata and second.metadata):
                    assert await one(channel)(b"x") == b"x"

    play(main())


def test_a_service_of_which_no_instance_is_known_is_not_there() -> None:
    """Nothing was sent, and the error says why none is known."""

    async def main() -> None:
        told = Told()
        async with calling(told) as (channel, _):
            with pytest.raises(Unreachable, match="no instance of it is known"):
                await one(channel)(b"x")

    play(main())
