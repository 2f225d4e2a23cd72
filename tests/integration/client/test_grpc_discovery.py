"""Calls over gRPC to instances that are found: on a real etcd, in DNS, and in our own stand-in of the Kubernetes API."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc_peers
import pytest
from grpc_peers import Peer, echo, one, serving
from hearing import heard, until
from kubernetes_api import TOKEN, Api, a_slice
from name_server import NO_SUCH_NAME, address, name_server, service
from peers import listening

from servers.etcd import EtcdServer
from skerry.client.discovery import Endpoint, EtcdRegistry, KubernetesResolver, Located
from skerry.client.grpc import grpc_channel
from skerry.errors import SkerryError
from skerry.resilience import Policy, Retry
from skerry.signals import DiscoveryFailed, InstancesChanged

BOUND = 60.0


def policy() -> Policy:
    return Policy("peer", total=BOUND, retry=Retry(5, base=0.01))


def port_of(peer: Peer) -> int:
    return int(peer.url.rpartition(":")[2])


def here(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, instance=f"id-{port}")


@asynccontextmanager
async def process() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """An instance in a process of its own, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = str(Path(grpc_peers.__file__))
    started = await asyncio.create_subprocess_exec(sys.executable, program, str(port), stdout=asyncio.subprocess.PIPE)
    try:
        assert started.stdout is not None
        assert await started.stdout.readline() == b"up\n"
        yield started, port
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.mark.etcd
def test_instances_are_found_on_etcd(tmp_path: Path) -> None:
    """One that is announced gets calls, one that is withdrawn gets none, and a registry that is gone changes nothing."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as second:
            with EtcdServer(tmp_path) as mortal, heard() as signals:
                registry = EtcdRegistry(mortal.url())
                announced = registry.registered("peer", here(port_of(first)))
                await announced.__aenter__()
                async with grpc_channel("peer", url=f"{mortal.url()}/peer", policy=policy()) as channel:
                    assert await one(channel)(b"x") == b"x"
                    async with registry.registered("peer", here(port_of(second))):
                        while not second.metadata:
                            assert await one(channel)(b"x") == b"x"
                        await announced.__aexit__(None, None, None)
                        await until(signals, InstancesChanged, 3)
                        before = len(first.metadata)
                        mortal.kill()
                        await until(signals, DiscoveryFailed)
                        for _ in range(10):
                            assert await one(channel)(b"x") == b"x"
                        assert len(first.metadata) == before
                await registry.aclose()

    asyncio.run(main())


@pytest.mark.etcd
def test_an_instance_that_is_killed_costs_no_call_that_may_be_repeated(tmp_path: Path) -> None:
    """It stays announced until its lease is over; until then the others are tried in its stead."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as alive, process() as (victim, port):
            with EtcdServer(tmp_path) as server:
                registry = EtcdRegistry(server.url())
                async with (
                    registry.registered("peer", here(port_of(alive))),
                    registry.registered("peer", here(port)),
                    grpc_channel(
                        "peer", url=f"{server.url()}/peer", policy=policy(), safe=["/peer.Peer/Look"]
                    ) as channel,
                ):
                    for turn in range(60):
                        if turn == 20:
                            os.kill(victim.pid, signal.SIGKILL)
                            await victim.wait()
                        assert await one(channel, "Look")(b"x") == b"x"
                    assert len(alive.metadata) >= 40
                await registry.aclose()

    asyncio.run(main())


def test_instances_are_found_in_dns() -> None:
    """All addresses of a name; one that is added gets calls, and an answer without any keeps those of before."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first:
            port = port_of(first)
            async with serving(echo, host="127.0.0.2", port=port) as second:
                zone = {"stock__test": [address("127.0.0.1")]}
                async with name_server(**zone) as names:
                    url = f"dns+http://stock.test:{port}?nameserver={names.where}"
                    with heard() as signals:
                        async with grpc_channel("peer", url=url, policy=policy()) as channel:
                            assert await one(channel)(b"x") == b"x"
                            names.zone["stock.test"] = [address("127.0.0.1"), address("127.0.0.2")]
                            while not second.metadata:
                                assert await one(channel)(b"x") == b"x"
                            names.zone["stock.test"] = NO_SUCH_NAME
                            await until(signals, DiscoveryFailed)
                            for _ in range(10):
                                assert await one(channel)(b"x") == b"x"

    asyncio.run(main())


def test_service_records_say_ports_and_which_come_first() -> None:
    """Of SRV records those of the lowest number get the calls, and the next when they do not work."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as last:
            records = [service("a.test", port_of(first), priority=1), service("a.test", port_of(last), priority=2)]
            async with name_server(_grpc___tcp__stock__test=records, a__test=[address("127.0.0.1")]) as names:
                url = f"srv+http://_grpc._tcp.stock.test?nameserver={names.where}"
                async with grpc_channel("peer", url=url, policy=policy()) as channel:
                    for _ in range(10):
                        assert await one(channel)(b"x") == b"x"
                    assert (len(first.metadata), len(last.metadata)) == (10, 0)
                    await first.server.stop(0)
                    while not last.metadata:
                        try:
                            await one(channel)(b"x")
                        except SkerryError:
                            await asyncio.sleep(0.01)

    asyncio.run(main())


def test_instances_are_watched_in_kubernetes(tmp_path: Path) -> None:
    """Slices that come and go are told at once; when the last one is empty, the instances of before stay in use."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as second:
            api = Api(a_slice("a", "127.0.0.1", port=port_of(first)))
            (tmp_path / "token").write_text(TOKEN)
            async with listening(api) as cluster:
                resolver = KubernetesResolver("shop", "stock", port="http", api=cluster.url, account=tmp_path)
                there = Located("http://stock.shop.svc", resolver, named=True)
                with heard() as signals:
                    async with grpc_channel("stock", instances=there, policy=policy()) as channel:
                        assert await one(channel)(b"x") == b"x"
                        await api.watching.wait()
                        api.change("ADDED", a_slice("b", "127.0.0.1", port=port_of(second)))
                        while not second.metadata:
                            assert await one(channel)(b"x") == b"x"
                        api.change("DELETED", a_slice("a"))
                        await until(signals, InstancesChanged, 3)
                        before = len(first.metadata)
                        api.change("MODIFIED", a_slice("b"))
                        await until(signals, DiscoveryFailed)
                        for _ in range(10):
                            assert await one(channel)(b"x") == b"x"
                        assert len(first.metadata) == before

    asyncio.run(main())
