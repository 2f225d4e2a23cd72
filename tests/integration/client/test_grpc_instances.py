"""Calls over gRPC to several instances of a service, written down by address."""

from __future__ import annotations

import asyncio

import pytest
from grpc_peers import OWN, echo, one, serving

from skerry.client.grpc import grpc_channel
from skerry.errors import ConfigurationError, SkerryError
from skerry.resilience import Policy, Retry

BOUND = 60.0


def policy() -> Policy:
    return Policy("peer", total=OWN, retry=Retry(5, base=0.05))


def place(url: str) -> str:
    return url.removeprefix("http://")


def test_calls_go_to_each_instance() -> None:
    """Sooner or later every one that is there gets some."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as second:
            url = f"http://{place(first.url)},{place(second.url)}"
            async with grpc_channel("peer", url=url, policy=policy()) as channel:
                while not (first.metadata and second.metadata):
                    assert await one(channel)(b"x") == b"x"

    asyncio.run(main())


def test_an_instance_that_is_not_there_is_passed_over() -> None:
    """One of three addresses is dead: no call fails."""

    async def main() -> None:
        async with asyncio.timeout(BOUND), serving(echo) as first, serving(echo) as second:
            url = f"http://127.0.0.1:1,{place(first.url)},{place(second.url)}"
            async with grpc_channel("peer", url=url, policy=policy()) as channel:
                for _ in range(20):
                    assert await one(channel)(b"x") == b"x"

    asyncio.run(main())


def test_none_that_is_there_is_told_as_one() -> None:
    """As with a single address that nobody listens at."""

    async def main() -> None:
        async with asyncio.timeout(BOUND):
            url = "http://127.0.0.1:1,127.0.0.1:2"
            async with grpc_channel("peer", url=url, policy=Policy("peer", total=OWN)) as channel:
                with pytest.raises(SkerryError):
                    await one(channel)(b"x")

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:1,10.0.0.2:1/path",
        "http://10.0.0.1:1,169.254.169.254:1",
        "http://me:secret@10.0.0.1:1,10.0.0.2:1",
        "http://10.0.0.1:1,",
        "http://" + ",".join(["10.0.0.1:1"] * 101),
    ],
)
def test_what_grpc_cannot_call_is_said_at_once(url: str) -> None:
    """A path, what is no instance of anything, nothing, too many; nothing of a password."""

    async def main() -> None:
        with pytest.raises(ConfigurationError) as caught:
            grpc_channel("peer", url=url)
        assert "secret" not in str(caught.value)

    asyncio.run(main())
