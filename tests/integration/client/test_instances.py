"""Services with several instances, over real sockets: which gets a call, and what happens when one of them is gone or sick."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from dns.exception import DNSException
from hearing import heard
from name_server import FAILURE, NO_SUCH_NAME, address, name_server, service
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, Reader, Writer, answers, blackhole, listening, receive, refusing_url, reply

from skerry.client import ServiceClient
from skerry.client.discovery import Answer, Endpoint
from skerry.client.discovery.directory import LEAST_TTL
from skerry.client.discovery.dns import AddressResolver, ServiceResolver
from skerry.client.policy import is_failure
from skerry.errors import Unreachable, Untrusted
from skerry.resilience import CircuitBreaker, Policy
from skerry.signals import DiscoveryFailed, InstanceEjected


def once(**options: Any) -> Policy:
    """One attempt, so that what is tried again is not tried by the policy."""
    return Policy("stock", total=5.0, clock=LOOP_TIME, **options)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def several(*urls: str) -> str:
    return "http://" + ",".join(url.partition("://")[2] for url in urls)


def client(url: str, **options: Any) -> ServiceClient:
    options.setdefault("policy", once())
    return ServiceClient("stock", url=url, clock=LOOP_TIME, **options)


def test_calls_go_to_all_instances_that_are_written_down() -> None:
    """Several addresses in the URL are instances, each asked for by its own name, with the base path before every path."""

    async def main() -> None:
        async with listening(answers(reply())) as one, listening(answers(reply())) as two:
            async with client(several(one.url, two.url) + "/base") as stock:
                await asyncio.gather(*(stock.get("/x?y=1") for _ in range(20)))
            for peer in (one, two):
                assert peer.requests
                assert {r.target for r in peer.requests} == {"/base/x?y=1"}
                assert {r.headers["host"] for r in peer.requests} == {peer.url.partition("://")[2]}

    run_patiently(main())


def test_a_dead_instance_costs_its_callers_nothing() -> None:
    """Where no connection can be made the next address is tried in the same attempt, also for a POST: nothing was sent."""

    async def main() -> None:
        async with listening(answers(reply())) as alive:
            async with client(several(refusing_url(), alive.url, refusing_url())) as stock:
                for _ in range(30):
                    assert (await stock.post("/orders", json={})).status == 200
            assert len(alive.requests) == 30

    run_patiently(main())


def test_a_body_that_can_be_sent_once_reaches_the_next_address_whole() -> None:
    """Nothing of it was used up where no connection was made."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    seen: list[bytes] = []

    async def chunked(peer: Peer, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(reply())

    async def main() -> None:
        async with listening(chunked) as alive:
            for _ in range(6):
                async with client(several(refusing_url(), alive.url)) as stock:
                    await stock.post("/", content=pieces())

    run_patiently(main())
    assert seen == [b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"] * 6


def test_when_every_instance_is_dead_that_is_said() -> None:
    """Three at most are tried, and the error is that nothing was sent."""

    async def main() -> None:
        async with client(several(*(refusing_url() for _ in range(5)))) as stock:
            with pytest.raises(Unreachable):
                await stock.get("/")

    run_patiently(main())


@pytest.mark.parametrize(
    ("sick", "reason"), [(blackhole, "time-out"), (answers(reply(500)), "status 500")], ids=["silent", "failing"]
)
def test_one_sick_instance_is_ejected_and_does_not_open_the_circuit(sick: Behaviour, reason: str) -> None:
    """Its calls fail in a row, so it is left alone; the others go on, and so does the service as a whole."""

    async def main() -> None:
        breaker = CircuitBreaker(on=is_failure, clock=LOOP_TIME)
        policy = once(attempt=0.2, breaker=breaker)
        with heard() as signals:
            async with (
                listening(sick) as bad,
                listening(answers(reply())) as good,
                client(several(bad.url, good.url), policy=policy) as stock,
            ):
                for _ in range(20):  # five at once, so that the sick one gets some
                    await asyncio.gather(*(stock.get("/") for _ in range(5)), return_exceptions=True)
                served = len(good.requests)
                assert all(each.status == 200 for each in [await stock.get("/") for _ in range(20)])
                assert len(good.requests) == served + 20
                assert breaker.state == "closed"
        ejected = [signal for signal in signals if isinstance(signal, InstanceEjected)]
        assert [(each.instance, each.reason) for each in ejected] == [(bad.url.partition("://")[2], reason)]

    run_patiently(main())


def test_a_caller_that_leaves_early_says_nothing_of_the_instance() -> None:
    """Cancelled before their time is over, calls are neither failures nor under way any longer."""

    async def main() -> None:
        with heard() as signals:
            async with (
                listening(blackhole) as one,
                listening(blackhole) as two,
                client(several(one.url, two.url)) as stock,
            ):
                calls = [asyncio.ensure_future(stock.get("/")) for _ in range(30)]
                while len(one.requests) + len(two.requests) < 30:
                    await asyncio.sleep(0.01)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                assert {each.busy for each in stock._transport.balancer.instances} == {0}  # type: ignore[attr-defined]
        assert not any(isinstance(signal, InstanceEjected) for signal in signals)

    run_patiently(main())


def test_a_redirect_to_somewhere_else_goes_there() -> None:
    """Only the service's own origin is balanced; credentials stay behind as ever."""

    async def main() -> None:
        async with listening(answers(reply(200, b"there"))) as other:
            moved = answers(reply(302, location=f"{other.url}/there"))
            async with listening(moved) as one, listening(moved) as two, client(several(one.url, two.url)) as stock:
                got = await stock.get("/", redirects=1, headers={"authorization": "secret"})
        assert got.content == b"there"
        assert "authorization" not in other.requests[0].headers

    run_patiently(main())


# --- DNS


def test_all_addresses_of_a_name_are_instances() -> None:
    """A and AAAA: each address gets calls, in the name of the service."""

    async def stands(host: str, port: int) -> asyncio.Server:
        async def connected(reader: Reader, writer: Writer) -> None:
            received.append((host, (await receive(Peer(), reader)).headers["host"]))
            writer.write(reply())
            writer.close()

        return await asyncio.start_server(connected, host, port)

    received: list[tuple[str, str]] = []

    async def main() -> None:
        hosts = ["127.0.0.1", "127.0.0.2", "::1"] if has_ipv6() else ["127.0.0.1", "127.0.0.2"]
        port = port_of(refusing_url())
        servers = [await stands(host, port) for host in hosts]
        async with (
            name_server(stock__test=[address(host) for host in hosts]) as names,
            client(f"dns+http://stock.test:{port}?nameserver={names.where}") as stock,
        ):
            for _ in range(40):
                await stock.get("/")
        for server in servers:
            server.close()
        assert {host for host, _ in received} == set(hosts)
        assert {named for _, named in received} == {f"stock.test:{port}"}

    run_patiently(main())


def has_ipv6() -> bool:
    interfaces = Path("/proc/net/if_inet6")
    return interfaces.exists() and "00000000000000000000000000000001" in interfaces.read_text()


def test_an_answer_holds_as_long_as_its_records_say() -> None:
    """The least TTL of all records; a changed answer is there when it is asked for again."""

    async def main() -> None:
        async with name_server(stock__test=[address("127.0.0.1", ttl=30), address("::1", ttl=7)]) as names:
            resolver = AddressResolver("stock.test", port=80, nameserver=names.where)
            assert await resolver.resolve() == Answer((Endpoint("127.0.0.1", 80), Endpoint("::1", 80)), 7.0)
            names.zone["stock.test"] = [address("127.0.0.2", ttl=9)]
            assert await resolver.resolve() == Answer((Endpoint("127.0.0.2", 80),), 9.0)

    run_patiently(main())


def test_records_that_hold_for_no_time_are_not_asked_for_without_a_rest() -> None:
    """A TTL of 0 is no watch, which is asked again at once because it waits for changes."""

    async def main() -> None:
        records = [service("a.test", 80, ttl=0)]
        zone = {"_http___tcp__stock__test": records, "a__test": [address("127.0.0.1", ttl=0)]}
        async with name_server(**zone) as names:
            for resolver in (
                AddressResolver("a.test", port=80, nameserver=names.where),
                ServiceResolver("_http._tcp.stock.test", nameserver=names.where),
            ):
                assert await resolver.resolve() == Answer((Endpoint("127.0.0.1", 80),), LEAST_TTL)

    run_patiently(main())


@pytest.mark.parametrize("trouble", [NO_SUCH_NAME, FAILURE, []], ids=["no such name", "failure", "no address"])
def test_a_name_server_in_trouble_gives_no_answer(trouble: Any) -> None:
    """None that could be taken for "no instances": what is raised leaves the last good answer standing."""

    async def main() -> None:
        async with name_server(stock__test=trouble, _http___tcp__stock__test=trouble) as names:
            for resolver in (
                AddressResolver("stock.test", port=80, nameserver=names.where),
                ServiceResolver("_http._tcp.stock.test", nameserver=names.where),
            ):
                with pytest.raises(DNSException):
                    await resolver.resolve()
            with heard() as signals:
                async with client(f"dns+http://stock.test?nameserver={names.where}") as stock:
                    with pytest.raises(Unreachable, match="no instance of it is known"):
                        await stock.get("/")
            assert [type(signal) for signal in signals] == [DiscoveryFailed]

    run_patiently(main())


def test_addresses_that_lead_to_no_instance_are_left_out() -> None:
    """A name that somebody has pointed at the credentials of a cloud does not send us there."""

    async def main() -> None:
        async with listening(answers(reply())) as peer:
            bad = [address("169.254.169.254"), address("0.0.0.0"), address("224.0.0.1")]
            async with (
                name_server(stock__test=[*bad, address("127.0.0.1")]) as names,
                client(f"dns+http://stock.test:{port_of(peer.url)}?nameserver={names.where}") as stock,
            ):
                for _ in range(10):
                    await stock.get("/")
                [instance] = stock._transport.balancer.instances  # type: ignore[attr-defined]
                assert instance.endpoint.host == "127.0.0.1"

    run_patiently(main())


def test_service_records_say_which_instances_come_first() -> None:
    """SRV: ports, weights and priorities; those of a higher number are used when the first cannot be."""

    async def main() -> None:
        async with listening(answers(reply())) as first, listening(answers(reply())) as last:
            records = [
                service("a.test", port_of(first.url), priority=1, weight=5),
                service("a.test", port_of(last.url), priority=2),
                service("gone.test", 80, priority=1),
            ]
            async with (
                name_server(_http___tcp__stock__test=records, a__test=[address("127.0.0.1")]) as names,
                client(f"srv+http://_http._tcp.stock.test?nameserver={names.where}") as stock,
            ):
                for _ in range(10):
                    await stock.get("/")
                told = [each.endpoint for each in stock._transport.balancer.instances]  # type: ignore[attr-defined]
            assert [(e.port, e.priority, e.weight) for e in told] == [
                (port_of(first.url), 1, 5),
                (port_of(last.url), 2, 1),
            ]
            assert (len(first.requests), len(last.requests)) == (10, 0)
            assert {request.headers["host"] for request in first.requests} == {"stock.test"}

    run_patiently(main())


def test_the_certificate_has_to_be_of_the_service_and_not_of_the_address() -> None:
    """An instance that is found by a name has to prove that name; one that cannot is not sent anything."""
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    async def get(name: str) -> int:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(serving)
        async with (
            listening(answers(reply()), tls=serving) as peer,
            name_server(stock__test=[address("127.0.0.1")]) as names,
        ):
            url = f"dns+https://stock.test:{port_of(peer.url)}?nameserver={names.where}"
            async with client(url, tls=trust) as stock:
                try:
                    return (await stock.get("/")).status
                finally:
                    assert len(peer.requests) == (name == "stock.test")

    assert run_patiently(get("stock.test")) == 200
    with pytest.raises(Untrusted):
        run_patiently(get("other.test"))
