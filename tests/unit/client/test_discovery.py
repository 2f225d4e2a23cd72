from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.client.discovery import Answer, Directory, Endpoint, located
from skerry.client.discovery.directory import BETWEEN_CHANGES
from skerry.client.discovery.endpoint import MAX_ENDPOINTS
from skerry.errors import ConfigurationError, Unreachable
from skerry.signals import DiscoveryFailed, InstancesChanged, Signal
from skerry.testing import VirtualClock, run_virtual

A, B, C = (Endpoint(f"10.0.0.{n}", 80) for n in (1, 2, 3))

# --- what may be an instance


@pytest.mark.parametrize(
    "host",
    [
        "evil@host",
        "host/..",
        "a b",
        "",
        "a..b",
        "-a",
        "a" * 64,
        "host:80",
        "[::1]",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "127.1",
        "2130706433",
        "0x7f.1",
        "a\n",
        "hôte",
    ],
)
def test_what_is_no_address_of_an_instance_is_refused(host: str) -> None:
    """Whoever answers cannot make us send to credentials of a cloud, to many at once, or to what is read in two ways."""
    with pytest.raises(ConfigurationError):
        Endpoint(host, 80)


@pytest.mark.parametrize(
    "told",
    [
        {"host": 2130706433},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"weight": 0},
        {"zone": "a b"},
        {"instance": "\n"},
    ],
)
def test_nor_is_anything_else_out_of_bounds(told: dict[str, Any]) -> None:
    """Ports, weights, zones and ids are checked as well."""
    with pytest.raises(ConfigurationError):
        Endpoint(**{"host": "10.0.0.1", "port": 80, **told})


@given(st.text(max_size=30))
def test_a_host_stays_where_it_stands_in_a_url(host: str) -> None:
    """Whatever is taken for a host leads to that host and port, and nowhere else."""
    try:
        endpoint = Endpoint(host, 8080)
    except ConfigurationError:
        return
    parts = urlsplit(f"http://{endpoint.address}/x")
    assert (parts.hostname, parts.port, parts.path) == (host.lower(), 8080, "/x")


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    """As RFC 3986 wants it in a URL."""
    assert (Endpoint("2001:db8::1", 80).address, A.address) == ("[2001:db8::1]:80", "10.0.0.1:80")


# --- the address of a service


def test_one_address_needs_no_discovery() -> None:
    """A plain URL stays what it was."""
    assert located("stock", "http://stock:80/base") is None


def test_several_addresses_are_instances() -> None:
    """Each is asked for by its own name."""
    found = located("stock", "https://one:81,[::1]:82,three/base")
    assert found is not None
    answer = asyncio.run(found.resolver.resolve())
    assert answer.endpoints == (Endpoint("one", 81), Endpoint("::1", 82), Endpoint("three", 443))
    assert found.url == "https://one:81/base"
    assert found.at(answer.endpoints[2], "/base/x?y") == ("https://three:443/base/x?y", "")


def test_instances_found_by_a_name_are_asked_for_by_it() -> None:
    """The Host header and the certificate are the service's, whatever the address."""
    found = located("stock", "dns+http://stock.example:8080/base?nameserver=127.0.0.1:53")
    assert found is not None
    assert found.url == "http://stock.example:8080/base"
    assert found.at(Endpoint("::1", 1), "/base/x") == ("http://[::1]:1/base/x", "stock.example:8080")


@pytest.mark.parametrize(
    ("url", "rest"),
    [
        ("http://a:1/x", "/x"),
        ("http://a:1", ""),
        ("http://a:1?x", "?x"),
        ("http://a:10/x", None),
        ("http://a:1.evil/x", None),
        ("http://a:1@evil/x", None),
        ("https://a:1/x", None),
    ],
)
def test_only_requests_for_the_service_go_to_its_instances(url: str, rest: str | None) -> None:
    """A redirect may lead elsewhere, and then goes there."""
    found = located("stock", "http://a:1,b:2")
    assert found is not None
    assert found.rest_of(url) == rest


@pytest.mark.parametrize(
    "url",
    [
        "http://a:1,b:x",
        "http://a:1,",
        "http://a,evil@b",
        "http://a,169.254.169.254",
        "http://" + ",".join(f"h{n}" for n in range(101)),
        "dns+http://10.0.0.1:80",
        "dns+http://user@name",
        "dns+http://name:port",
        "dns+http://name?x=1",
        "dns+http://name?nameserver=here",
        "dns+http://name#x",
        "srv+http://name",
        "srv+http://_http._tcp.name:80",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    """At construction, not in the first call."""
    with pytest.raises(ConfigurationError):
        located("stock", url)


# --- keeping them


class Script:
    """A resolver that says what it is told to, in turn, and the last for ever."""

    def __init__(self, *answers: Answer | BaseException | None) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []
        self.closed = False

    async def resolve(self) -> Answer:
        self.asked.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None
        return answer

    async def aclose(self) -> None:
        self.closed = True


Main = Callable[[Directory, list[list[Endpoint]], VirtualClock], Awaitable[None]]


def kept(script: Script, main: Main) -> None:
    async def run(clock: VirtualClock) -> None:
        sets: list[list[Endpoint]] = []

        def changed(endpoints: Sequence[Endpoint]) -> None:
            sets.append(list(endpoints))

        directory = Directory("stock", script, changed=changed, clock=clock)
        try:
            await main(directory, sets, clock)
        finally:
            await directory.aclose()
        assert script.closed

    run_virtual(run)


def test_it_is_asked_again_when_the_answer_is_too_old(signals: list[Signal]) -> None:
    """Every TTL, from one second to sixty; only another set is told of."""
    script = Script(Answer((A, B), 20.0), Answer((B, A), 0.1), Answer((B, C), 1e9), Answer((C,), 5.0), None)

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        await directory.ready()
        assert sets == [[A, B]]
        await clock.sleep(200.0)
        assert sets == [[A, B], [B, C], [C]]

    kept(script, main)
    assert script.asked == [0.0, 20.0, 21.0, 81.0, 86.0]
    changes = [signal for signal in signals if isinstance(signal, InstancesChanged)]
    assert [(each.count, each.added, each.removed) for each in changes] == [(2, 2, 0), (2, 1, 1), (1, 0, 1)]


TOO_MANY = Answer(tuple(Endpoint(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80) for n in range(MAX_ENDPOINTS + 1)), 1.0)


@pytest.mark.parametrize(
    "trouble", [Answer((), 1.0), OSError("registry down"), ValueError(), asyncio.CancelledError(), TOO_MANY]
)
def test_the_last_good_answer_stands(trouble: Answer | BaseException, signals: list[Signal]) -> None:
    """No answer, an empty one or an absurd one is not "no instances": a signal says so, and calls go on."""
    script = Script(Answer((A, B), 1.0), trouble)

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        await directory.ready()
        await clock.sleep(3600.0)
        await directory.ready()
        assert sets == [[A, B]]

    kept(script, main)
    failed = [signal for signal in signals if isinstance(signal, DiscoveryFailed)]
    assert {signal.kept for signal in failed} == {2}
    assert max(signal.delay for signal in failed) <= 30.0
    assert 120 <= len(failed) <= 260  # it goes on asking, and not too often


def test_a_resolver_that_watches_is_asked_again_at_once() -> None:
    """An answer without a TTL comes from one that returns when there is something new."""
    script = Script(Answer((A,)), Answer((A, B)), None)

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        await directory.ready()
        await clock.sleep(1.0)
        assert sets == [[A], [A, B]]

    kept(script, main)
    assert script.asked == [0.0, BETWEEN_CHANGES, 2 * BETWEEN_CHANGES]


def test_without_any_answer_a_call_fails_at_once_and_says_why() -> None:
    """The first call waits for the first answer; those after a failed one do not wait for the next."""
    script = Script(OSError("no route"), Answer((A,), 1.0))

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        for _ in range(2):
            with pytest.raises(Unreachable, match="no instance of it is known"):
                await directory.ready()
        assert clock.monotonic() == 0.0
        await clock.sleep(1.0)
        await directory.ready()
        assert sets == [[A]]

    kept(script, main)


def test_a_silent_resolver_is_given_up() -> None:
    """The first answer has five seconds."""

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        with pytest.raises(Unreachable, match="TimeoutError"):
            await directory.ready()
        assert clock.monotonic() == 5.0

    kept(Script(None), main)


def test_who_is_cancelled_while_it_closes_is_cancelled() -> None:
    """A resolver may take its time to end. Who has no more of it is not told that all went well."""

    class Lingers(Script):
        async def resolve(self) -> Answer:
            try:
                return await super().resolve()
            finally:
                await asyncio.sleep(1.0)

    script = Lingers(None)

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        asking = asyncio.create_task(directory.ready())
        await clock.sleep(0.1)
        closing = asyncio.create_task(directory.aclose())
        await clock.sleep(0.1)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert script.closed
        asking.cancel()
        assert sets == []

    kept(script, main)


def test_a_call_that_leaves_does_not_end_the_question() -> None:
    """Whoever comes next gets the answer that the first was too impatient for."""

    class Slow(Script):
        async def resolve(self) -> Answer:
            answer = await super().resolve()
            await asyncio.sleep(2.0)
            return answer

    script = Slow(Answer((A,), 60.0))

    async def main(directory: Directory, sets: list[list[Endpoint]], clock: VirtualClock) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await directory.ready()
        await directory.ready()
        assert clock.monotonic() == 2.0

    kept(script, main)
    assert script.asked[:1] == [0.0]
    assert len(script.asked) == 1
