"""A registry on a real etcd: instances that come, go, and lie."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64encode
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import LOOP_TIME, run_patiently
from peers import answers, listening, reply

from servers.etcd import EtcdServer
from skerry.client import ServiceClient
from skerry.client.discovery import Endpoint, located
from skerry.client.discovery.etcd import EtcdRegistry, EtcdResolver
from skerry.clock import Clock
from skerry.errors import ConfigurationError, StatusError, Unreachable
from skerry.resilience import Policy
from skerry.signals import DiscoveryFailed, Signal, subscribe

pytestmark = pytest.mark.etcd
A, B = Endpoint("10.0.0.1", 80, zone="a", weight=3, instance="one"), Endpoint("10.0.0.2", 80, instance="two")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as running:
        yield running


def coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def play(main: Coroutine[Any, Any, None]) -> None:
    run_patiently(main)


def test_who_announces_itself_is_found_and_who_leaves_is_not(server: EtcdServer) -> None:
    """A resolver that waits is told of both; zone, weight and id come along."""

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        resolver = EtcdResolver(EtcdRegistry(server.url(), clock=LOOP_TIME), "stock")
        assert (await resolver.resolve()).endpoints == ()
        async with registry.registered("stock", A):
            assert (await resolver.resolve()).endpoints == (A,)
            async with registry.registered("stock", B), registry.registered("stock-room", B):
                assert set((await resolver.resolve()).endpoints) == {A, B}
            assert (await resolver.resolve()).endpoints == (A,)
        assert (await resolver.resolve()).endpoints == ()
        await registry.aclose()
        await resolver.aclose()

    play(main())


def test_an_entry_lives_no_longer_than_its_lease(server: EtcdServer) -> None:
    """A process that is killed withdraws nothing; etcd does when the lease is over."""

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        async with registry.registered("mortal", A):
            [entry] = server.ask("kv/range", key=coded("skerry/instances/mortal/one"))["kvs"]
            told = server.ask("kv/lease/timetolive", ID=entry["lease"])
            assert told["grantedTTL"] == "15"
            resolver = EtcdResolver(EtcdRegistry(server.url(), clock=LOOP_TIME), "mortal")
            assert (await resolver.resolve()).endpoints == (A,)
            server.ask("kv/lease/revoke", ID=entry["lease"])
            assert (await resolver.resolve()).endpoints == ()
            await resolver.aclose()
        await registry.aclose()

    play(main())


def test_a_successor_of_the_same_id_keeps_its_entry(server: EtcdServer) -> None:
    """Who withdraws takes back its own announcement, and not that of the process that came after it."""

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        async with registry.registered("succeeded", A):
            before = registry.registered("succeeded", A)
            await before.__aenter__()
            after = registry.registered("succeeded", A)
            await after.__aenter__()
            await before.__aexit__(None, None, None)
            assert (await registry.instances("succeeded"))[0] == [A]
            await after.__aexit__(None, None, None)
            assert (await registry.instances("succeeded"))[0] == []
        await registry.aclose()

    play(main())


def test_a_client_finds_its_instances_there(server: EtcdServer) -> None:
    """By the URL of the service alone; it calls in the service's name."""

    async def main() -> None:
        async with listening(answers(reply())) as one, listening(answers(reply())) as two:
            registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
            ports = [int(peer.url.rpartition(":")[2]) for peer in (one, two)]
            first, second = (Endpoint("127.0.0.1", port, instance=f"id-{port}") for port in ports)
            policy = Policy("called", total=5.0, clock=LOOP_TIME)
            async with registry.registered("called", first), registry.registered("called", second):
                client = ServiceClient("called", url=f"{server.url()}/called", policy=policy, clock=LOOP_TIME)
                async with client as called:
                    for _ in range(20):
                        await called.get("/x")
            assert one.requests
            assert two.requests
            assert {request.headers["host"] for request in one.requests} == {"called"}
            await registry.aclose()

    play(main())


def test_a_client_goes_on_when_its_registry_is_gone(tmp_path: Path) -> None:
    """The instances it knows stay in use; a signal tells how many."""

    async def main() -> None:
        async with listening(answers(reply())) as peer:
            with EtcdServer(tmp_path) as mortal:
                registry = EtcdRegistry(mortal.url(), clock=LOOP_TIME)
                here = Endpoint("127.0.0.1", int(peer.url.rpartition(":")[2]), instance="here")
                told: list[Signal] = []
                unsubscribe = subscribe(told.append)
                policy = Policy("called", total=5.0, clock=LOOP_TIME)
                async with registry.registered("called", here):
                    client = ServiceClient("called", url=f"{mortal.url()}/called", policy=policy, clock=LOOP_TIME)
                    async with client as called:
                        await called.get("/x")
                        mortal.kill()
                        while not any(isinstance(signal, DiscoveryFailed) for signal in told):
                            await asyncio.sleep(0.01)
                        assert (await called.get("/x")).status == 200
                unsubscribe()
                assert {signal.kept for signal in told if isinstance(signal, DiscoveryFailed)} == {1}
                await registry.aclose()

    play(main())


@pytest.mark.parametrize("turns", range(4))
def test_who_is_cancelled_while_it_withdraws_is_cancelled(turns: int, server: EtcdServer) -> None:
    """In whichever turn of the event loop that happens."""

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        left = asyncio.Event()

        async def announced() -> None:
            async with registry.registered("short", A):
                await asyncio.sleep(0)  # whatever keeps the lease has begun
                left.set()

        task = asyncio.create_task(announced())
        await left.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await registry.aclose()

    play(main())


def test_entries_that_are_no_instances_are_left_out(server: EtcdServer) -> None:
    """Whoever may write can break nothing but its own entry, and lead nobody to forbidden places."""
    lies = {
        "metadata": {"host": "169.254.169.254", "port": 80},
        "evil": {"host": "evil@host/..", "port": 80},
        "port": {"host": "10.0.0.9", "port": "80"},
        "number": {"host": 2130706433, "port": 80},
        "weight": {"host": "10.0.0.9", "port": 80, "weight": 10**9},
        "list": [],
        "zone": {"host": "10.0.0.9", "port": 80, "zone": 7},
        "a/b": {"host": "10.0.0.9", "port": 80},
    }
    for name, value in lies.items():
        server.ask("kv/put", key=coded(f"skerry/instances/lied/{name}"), value=coded(json.dumps(value)))
    server.ask("kv/put", key=coded("skerry/instances/lied/bytes"), value=coded("\x00 no json"))
    server.ask("kv/put", key=coded("skerry/instances/lied/deep"), value=coded("[" * 100_000))

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        async with registry.registered("lied", A):
            assert (await registry.instances("lied"))[0] == [A]
        await registry.aclose()

    play(main())


def test_a_registry_that_is_away_is_an_error_and_the_next_host_is_asked(server: EtcdServer) -> None:
    """What is raised leaves the last good answer standing; of several hosts the next question goes to another."""

    async def main() -> None:
        registry = EtcdRegistry(f"etcd://127.0.0.1:1,127.0.0.1:{server.port}", clock=LOOP_TIME)
        with pytest.raises(Unreachable):
            await registry.instances("stock")
        assert await registry.instances("stock")
        await registry.aclose()

    play(main())


def test_a_revision_that_is_forgotten_means_ask_for_all(server: EtcdServer) -> None:
    """After a compaction a watch cannot go on from where it was; nothing is missed all the same."""

    async def main() -> None:
        registry = EtcdRegistry(server.url(), clock=LOOP_TIME)
        resolver = EtcdResolver(EtcdRegistry(server.url(), clock=LOOP_TIME), "compacted")
        await resolver.resolve()
        async with registry.registered("compacted", A):
            _, revision = await registry.instances("compacted")
            server.ask("kv/compaction", revision=str(revision))
            assert (await resolver.resolve()).endpoints == (A,)
        await registry.aclose()
        await resolver.aclose()

    play(main())


def test_only_who_may_announces(tmp_path: Path) -> None:
    """etcd's own users and roles decide: below its own name a service writes, elsewhere it does not, a stranger nowhere."""
    with EtcdServer(tmp_path) as server:
        below = {"key": coded("skerry/instances/stock/"), "range_end": coded("skerry/instances/stock0")}
        for user in ("root", "stock"):
            server.ask("auth/role/add", name=user)
            server.ask("auth/user/add", name=user, password="p@ss")
            server.ask("auth/user/grant", user=user, role=user)
        server.ask("auth/role/grant", name="stock", perm={"permType": "READWRITE", **below})
        server.ask("auth/enable")

        async def main() -> None:
            registry = EtcdRegistry(server.url("stock:p%40ss"), clock=LOOP_TIME)
            async with registry.registered("stock", A):
                assert (await registry.instances("stock"))[0] == [A]
                with pytest.raises(StatusError):
                    async with registry.registered("payment", A):
                        pass
            await registry.aclose()
            for login in ("", "stock:wrong"):
                stranger = EtcdRegistry(server.url(login), clock=LOOP_TIME)
                with pytest.raises(StatusError):
                    async with stranger.registered("stock", A):
                        pass
                await stranger.aclose()

        play(main())


class _Hurried(Clock):
    """A hundred times as quick, so that a lease is kept every twentieth of a second."""

    __slots__ = ()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


def test_an_entry_that_was_lost_is_announced_anew(tmp_path: Path) -> None:
    """A lease that has ended, or a registry that was away and has come back with nothing: the instance is there again."""

    async def main() -> None:
        with EtcdServer(tmp_path) as mortal:
            registry = EtcdRegistry(mortal.url(), clock=_Hurried())
            states: list[str] = []
            unsubscribe = subscribe(lambda told: states.append(getattr(told, "state", "")))
            async with registry.registered("stock", A):
                [entry] = mortal.ask("kv/range", key=coded("skerry/instances/stock/one"))["kvs"]
                mortal.ask("kv/lease/revoke", ID=entry["lease"])
                while not (await registry.instances("stock"))[0]:
                    await asyncio.sleep(0.01)
                mortal.kill()
                while "in doubt" not in states:
                    await asyncio.sleep(0.01)
                shutil.rmtree(tmp_path / "data")
                mortal.start()
                while states[-1] != "announced":
                    await asyncio.sleep(0.01)
                assert (await registry.instances("stock"))[0] == [A]
            unsubscribe()
            await registry.aclose()
        assert states == ["announced", "announced", "in doubt", "announced", "withdrawn"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "rest", ["/stock", "h:x/stock", "h", "h/Stock", "h/a/b", "h/stock?x=1", "h,169.254.169.254/stock", "h/stock/"]
)
def test_an_address_that_cannot_be_meant_is_refused(rest: str) -> None:
    """Without repeating it, for it may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        located("stock", f"etcd://user:hunter2@{rest}")
    assert "hunter2" not in str(caught.value)
