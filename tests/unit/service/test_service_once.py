from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asgi import living, play, settings

from skerry.errors import ReceiptConflict
from skerry.service import Problem, Service
from skerry.testing import VirtualClock


class Endpoint:
    """An endpoint that counts how often its effect happened."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.effects = 0

    async def effect(self) -> tuple[int]:
        self.effects += 1
        await self.service.clock.sleep(0.1)
        return (self.effects,)

    async def __call__(self, key: str | None, given: Any = 1, *, scope: str = "POST /x") -> Any:
        async with self.service.transaction() as tx:
            return await self.service.once(tx, key, given, self.effect, scope=scope)


def serving(tmp_path: Path, act: Callable[[Endpoint], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        service = Service("s", database="sqlite:///s.db", settings=settings(tmp_path), clock=clock)
        async with living(service):
            await act(Endpoint(service))

    play(main)


def test_the_same_key_is_answered_once(tmp_path: Path) -> None:
    """A repeated request gets the first answer, in the very same form, and has no second effect."""

    async def act(endpoint: Endpoint) -> None:
        assert [await endpoint("k", {"a": 1, "b": 2}), await endpoint("k", {"b": 2, "a": 1})] == [[1], [1]]

    serving(tmp_path, act)


def test_another_request_with_the_same_key_is_refused(tmp_path: Path) -> None:
    """A key is for one request; in another scope it is another key."""

    async def act(endpoint: Endpoint) -> None:
        await endpoint("k", 1)
        with pytest.raises(ReceiptConflict):
            await endpoint("k", 2)
        assert await endpoint("k", 2, scope="POST /y") == [2]

    serving(tmp_path, act)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "\x00"], ids=["empty", "long", "newline", "nul"])
def test_a_bad_key_is_refused(tmp_path: Path, key: str) -> None:
    """A key has 1 to 255 printable characters; anything else is 422 and has no effect."""

    async def act(endpoint: Endpoint) -> None:
        with pytest.raises(Problem) as raised:
            await endpoint(key)
        assert (raised.value.status, raised.value.code, endpoint.effects) == (422, "invalid_key", 0)

    serving(tmp_path, act)


def test_without_a_key_it_just_runs(tmp_path: Path) -> None:
    """No key, no memory."""

    async def act(endpoint: Endpoint) -> None:
        await endpoint(None)
        await endpoint(None)
        assert endpoint.effects == 2

    serving(tmp_path, act)


def test_concurrent_requests_with_one_key_have_one_effect(tmp_path: Path) -> None:
    """However many come at once, one has the effect and all get its answer."""

    async def act(endpoint: Endpoint) -> None:
        assert await asyncio.gather(*(endpoint("k") for _ in range(10))) == [[1]] * 10

    serving(tmp_path, act)


def test_a_failed_request_is_not_remembered(tmp_path: Path) -> None:
    """What was rolled back may be asked for again with the same key."""

    async def act(endpoint: Endpoint) -> None:
        with suppress(ZeroDivisionError):
            async with endpoint.service.transaction() as tx:
                await endpoint.service.once(tx, "k", 1, endpoint.effect, scope="POST /x")
                raise ZeroDivisionError
        assert await endpoint("k") == [2]

    serving(tmp_path, act)
