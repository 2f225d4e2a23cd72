from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from issuing_tokens import URL, Issuer, provider

from skerry.errors import CallError
from skerry.gateway.auth import Providers, UnknownKey, Verifier
from skerry.gateway.auth.fetched import COOLDOWN, KeysByUrl
from skerry.gateway.model import JwtProvider
from skerry.service.problem import Problem
from skerry.signals import KeysChanged, KeysUnavailable, Signal, TokenRefused
from skerry.testing import VirtualClock, run_virtual

WHERE = "https://id.example/jwks.json"


class Publisher:
    """Where the keys are: it says what it is told to, counts how often it is asked, and takes its time."""

    def __init__(self, document: bytes | Exception, *, takes: float = 0.0) -> None:
        self.document = document
        self.takes = takes
        self.asked = 0
        self.clock: VirtualClock | None = None

    async def __call__(self) -> bytes:
        self.asked += 1
        if self.takes and self.clock is not None:
            await self.clock.sleep(self.takes)
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


def made(publisher: Publisher, clock: VirtualClock, **change: Any) -> Verifier:
    publisher.clock = clock
    about = {"name": "id", "issuer": URL, "audiences": ("shop",), "jwks_url": WHERE, **change}
    return Verifier(JwtProvider(**about), clock=clock, fetch=publisher)


def run(test: Callable[[VirtualClock], Awaitable[None]]) -> None:
    run_virtual(test)


def test_before_there_are_keys_nothing_is_said_about_a_token(issuer: Issuer) -> None:
    """503, for the token may be a good one; asking begins a fetch, after which it is."""

    async def test(clock: VirtualClock) -> None:
        checked = made(Publisher(issuer.jwks()), clock)
        token = issuer.token(clock)
        with pytest.raises(Problem) as refused:
            checked.verify(token)
        assert refused.value.status == 503
        assert not checked.ready
        assert await checked.refresh()
        assert checked.ready
        assert checked.verify(token).subject == "ada"

    run(test)


def test_keys_are_fetched_again_in_time_and_new_ones_count_at_once(issuer: Issuer, told: list[Signal]) -> None:
    """Every `cache_for` seconds. A token is no longer known when the keys are others: the one that vouched for it may be gone."""

    async def test(clock: VirtualClock) -> None:
        publisher = Publisher(issuer.jwks("rsa"))
        checked = made(publisher, clock, cache_for=60.0)
        task = asyncio.create_task(checked.keep())
        await clock.sleep(1.0)
        old, new = issuer.token(clock), issuer.token(clock, algorithm="ES256")
        assert checked.verify(old).subject == "ada"
        publisher.document = issuer.jwks("ec")
        await clock.sleep(60.0)
        assert publisher.asked == 2
        assert checked.verify(new).subject == "ada"
        with pytest.raises(UnknownKey):
            checked.verify(old)
        task.cancel()

    run(test)
    assert [signal for signal in told if isinstance(signal, KeysChanged)] == [KeysChanged(provider="id", count=1)] * 2


def test_the_same_keys_again_change_nothing(issuer: Issuer, told: list[Signal]) -> None:
    """Known tokens stay known."""

    async def test(clock: VirtualClock) -> None:
        checked = made(Publisher(issuer.jwks()), clock, cache_for=60.0)
        task = asyncio.create_task(checked.keep())
        await clock.sleep(1.0)
        token = issuer.token(clock)
        first = checked.verify(token)
        await clock.sleep(200.0)
        assert checked.known(token) is first
        task.cancel()

    run(test)
    assert len(told) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        CallError("keys of id", "answered 500"),
        OSError("10.0.0.1"),
        b"<html>",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct"}]}',
    ],
)
def test_the_last_good_keys_stay_while_they_cannot_be_fetched(
    issuer: Issuer, told: list[Signal], trouble: bytes | Exception
) -> None:
    """Whatever comes instead of keys is told, tried again soon, and takes nothing away."""

    async def test(clock: VirtualClock) -> None:
        publisher = Publisher(issuer.jwks())
        checked = made(publisher, clock, cache_for=60.0)
        task = asyncio.create_task(checked.keep())
        await clock.sleep(1.0)
        publisher.document = trouble
        await clock.sleep(3600.0)
        assert checked.verify(issuer.token(clock)).subject == "ada"
        assert 100 < publisher.asked < 140
        publisher.document = issuer.jwks("ec")
        await clock.sleep(COOLDOWN)
        assert checked.verify(issuer.token(clock, algorithm="ES256")).subject == "ada"
        task.cancel()

    run(test)
    failed = [signal for signal in told if isinstance(signal, KeysUnavailable)]
    assert failed
    assert "10.0.0.1" not in failed[0].reason


def test_an_unknown_key_id_begins_one_fetch_and_no_more_for_a_while(issuer: Issuer, told: list[Signal]) -> None:
    """A stranger's invented key ids cost the publisher one request in 30 seconds; a new key is found by the first of them."""

    async def test(clock: VirtualClock) -> None:
        publisher = Publisher(issuer.jwks("rsa"), takes=0.1)
        checked = made(publisher, clock)
        await checked.refresh()
        await clock.sleep(COOLDOWN)
        publisher.document = issuer.jwks()
        token = issuer.token(clock, algorithm="ES256")
        with pytest.raises(UnknownKey) as unknown:
            checked.verify(token)
        assert unknown.value.provider == "id"
        assert await checked.refresh()
        assert checked.verify(token).subject == "ada"
        for number in range(1000):
            with pytest.raises(UnknownKey):
                checked.verify(issuer.token(clock, header={"alg": "RS256", "kid": f"k{number}"}))
        await clock.sleep(COOLDOWN / 2)
        assert publisher.asked == 2

    run(test)
    assert told[1] == TokenRefused(provider="id", check="unknown_key")


def test_all_who_ask_at_once_share_one_fetch(issuer: Issuer) -> None:
    """And who leaves does not take it from the others."""

    async def test(clock: VirtualClock) -> None:
        publisher = Publisher(issuer.jwks(), takes=5.0)
        checked = made(publisher, clock)
        asking = [asyncio.create_task(checked.refresh()) for _ in range(10)]
        await clock.sleep(1.0)
        asking[0].cancel()
        assert await asyncio.gather(*asking[1:]) == [True] * 9
        assert publisher.asked == 1

    run(test)


def test_closing_ends_the_fetch(issuer: Issuer) -> None:
    """Nothing goes on in the background."""

    async def test(clock: VirtualClock) -> None:
        publisher = Publisher(issuer.jwks(), takes=1000.0)
        checked = made(publisher, clock)
        asking = asyncio.create_task(checked.refresh())
        await clock.sleep(1.0)
        await checked.aclose()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert clock.monotonic() < 2.0

    run(test)


def test_outside_of_an_event_loop_a_token_is_judged_by_the_keys_there_are(issuer: Issuer) -> None:
    """Then nothing is fetched, and nothing breaks."""
    clock = VirtualClock()
    publisher = Publisher(issuer.jwks())
    with pytest.raises(Problem) as refused:
        made(publisher, clock).verify(issuer.token(clock))
    assert (refused.value.status, publisher.asked) == (503, 0)


def test_a_provider_that_has_not_changed_keeps_its_keys_at_a_reload(issuer: Issuer) -> None:
    """Its keys and known tokens go over to the new ones; a changed one begins anew; the old one closes only what is not used."""

    async def test(clock: VirtualClock) -> None:
        spec = JwtProvider("id", URL, ("shop",), jwks_url=WHERE)
        changed = JwtProvider("id", URL, ("mail",), jwks_url=WHERE)
        before = Providers([spec], clock=clock)
        after = Providers([spec], clock=clock, before=before)
        assert after.verifier("id") is before.verifier("id")
        assert Providers([changed], clock=clock, before=before).verifier("id") is not before.verifier("id")
        assert after.lacking == ("id",)
        await before.aclose(but=after)
        await after.aclose()

    run(test)


def test_all_providers_are_kept_up_to_date_by_one_task(issuer: Issuer, tmp_path: Path, told: list[Signal]) -> None:
    """One whose keys cannot be had lacks them, and takes nothing from the others."""

    async def test(clock: VirtualClock) -> None:
        by_url = JwtProvider("url", URL, ("shop",), jwks_url="http://127.0.0.1:9/jwks.json")
        providers = Providers([by_url, provider(tmp_path, issuer.jwks())], clock=clock)
        assert providers.lacking == ("url",)
        assert providers.verifier("id").provider.name == "id"
        publisher = Publisher(issuer.jwks())
        providers.verifiers[0]._fetched._fetch = publisher  # type: ignore[union-attr]
        await providers.refresh()
        assert providers.lacking == ()
        keeper = asyncio.create_task(providers.keep())
        await clock.sleep(299.0)
        assert publisher.asked == 2
        await clock.sleep(2.0)
        assert publisher.asked == 3
        keeper.cancel()
        await providers.aclose()

    run(test)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/keys", "http://[::1]:1/keys", "http://localhost:1/keys", WHERE])
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    """So that nobody on the way can put in his own."""

    async def test(clock: VirtualClock) -> None:
        await KeysByUrl("id", url, clock=clock).aclose()

    run(test)


def test_keys_over_a_real_connection(issuer: Issuer, told: list[Signal]) -> None:
    """They are fetched by GET; a redirect, another status and a body without an end are no keys."""

    async def main() -> None:
        answers = {
            "/good?v=1": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(issuer.jwks()), issuer.jwks()),
            "/moved": b"HTTP/1.1 302 Found\r\nlocation: /good?v=1\r\ncontent-length: 0\r\n\r\n",
            "/none": b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            "/endless": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 400_000,
        }
        asked: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            asked.append(path)
            writer.write(answers[path])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = {}
        for path in answers:
            checked = Verifier(JwtProvider("id", URL, ("shop",), jwks_url=base + path))
            found[path] = await checked.refresh()
            await checked.aclose()
        server.close()
        assert found == {"/good?v=1": True, "/moved": False, "/none": False, "/endless": False}
        assert asked.count("/good?v=1") == 1

    asyncio.run(main())
    assert json.dumps([type(signal).__name__ for signal in told]).count("KeysUnavailable") == 3


@pytest.mark.parametrize(
    ("document", "good"),
    [
        ('{"issuer": "BASE", "jwks_uri": "BASE/keys"}', True),
        ('{"issuer": "BASE/", "jwks_uri": "BASE/keys"}', False),
        ('{"issuer": "https://other.example", "jwks_uri": "BASE/keys"}', False),
        ('{"issuer": "BASE", "issuer": "BASE", "jwks_uri": "BASE/keys"}', False),
        ('{"issuer": "BASE"}', False),
        ('{"issuer": "BASE", "jwks_uri": "http://id.example/keys"}', False),
        ('["BASE"]', False),
        ("BASE", False),
    ],
)
def test_an_issuer_says_where_its_keys_are(issuer: Issuer, document: str, good: bool) -> None:
    """Without a file and a URL the issuer's own document is asked, and believed only when it names that issuer."""

    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            body = {
                "/.well-known/openid-configuration": document.replace("BASE", base).encode(),
                "/keys": issuer.jwks(),
            }[path]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        checked = Verifier(JwtProvider("id", base, ("shop",)))
        assert await checked.refresh() is good
        assert checked.ready is good
        await checked.aclose()
        server.close()

    asyncio.run(main())
