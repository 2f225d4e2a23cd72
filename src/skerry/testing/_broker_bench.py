"""What the cases of the conformance suite for brokers are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import EventError
from skerry.events.brokers import Broker, Delivery, Features, Message, Position, Subscription

T = TypeVar("T")
LIMIT: Final = 60.0
"""Seconds for one case: a guard against hanging, nothing is measured."""
TYPE: Final = "suite.happened"


class Server(Protocol):
    """The broker's server. All calls block."""

    def kill(self) -> None:
        """End it as SIGKILL does."""

    def start(self) -> object:
        """Start it again on the same data and the same port; return when it answers."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a case plays on. `connect` makes a broker for a service; the same namespace throughout a case.

    `foreign` puts a body on the wire as another program would: for a source and a type, without our headers. `secrets` must
    not be shown by any error. `unreachable` makes a broker where nothing listens.
    """

    connect: Callable[[str], Broker]
    server: Server | None = None
    foreign: Callable[[str, str, bytes], Awaitable[None]] | None = None
    unreachable: Callable[[str], Broker] | None = None
    secrets: Collection[str] = ()


class Bench:
    """What a case works with: brokers that are closed at its end, messages, and waiting for what has to come."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self.stage = stage
        self.clock = clock
        self._brokers: list[Broker] = []
        self._run = str(clock.uuid())[-8:]

    def broker(self, source: str = "order") -> Broker:
        broker = self.stage.connect(source)
        self._brokers.append(broker)
        return broker

    async def pair(self, *types: str, source: str = "order") -> tuple[Broker, Subscription]:
        """A broker and a subscription of it, which is there before anything is published."""
        broker = self.broker(source)
        return broker, await broker.subscribe("g", types or {TYPE}, {})

    def message(self, n: int | str, *, key: str = "k", type: str = TYPE, body: str = "") -> Message:  # noqa: A002
        return Message(f"{self._run}-{n}", type, key, body or f'{{"n":"{n}"}}')

    def messages(self, *numbers: int, key: str = "k") -> list[Message]:
        return [self.message(n, key=key) for n in numbers]

    async def collect(self, subscription: Subscription, count: int, *, limit: int = 100) -> list[Delivery]:
        """At least so many deliveries, in order."""
        found: list[Delivery] = []
        while len(found) < count:
            found += await subscription.fetch(limit, wait=1.0)
        return found

    async def drained(self, subscription: Subscription, until: Callable[[list[str]], bool]) -> list[str]:
        """Numbers of what comes, each part acknowledged, until there is enough."""
        found: list[str] = []
        while not until(found):
            part = await subscription.fetch(100, wait=1.0)
            await subscription.ack(part)
            found += numbers(part)
        return found

    async def nothing(self, subscription: Subscription) -> None:
        """Nothing comes any more."""
        left = await subscription.fetch(100, wait=0.25)
        assert not left, f"unexpected: {numbers(left)}"

    async def repeated(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, again after each EventError, as a relay and a consumer do."""
        while True:
            try:
                return await work()
            except EventError:
                await self.clock.sleep(0.05)

    async def close(self) -> None:
        for broker in self._brokers:
            await broker.close()


@dataclass(frozen=True, slots=True)
class Case:
    """One rule. `needs` says for which adapters it holds."""

    name: str
    rule: str
    play: Callable[[Bench], Awaitable[None]]
    needs: Callable[[Features], bool]
    server: bool = False
    foreign: bool = False

    def __str__(self) -> str:
        return self.name

    def run(self, stage: Stage, *, clock: Clock = SYSTEM) -> None:
        """Play it on the real clock. Raises `AssertionError` where the rule is broken."""
        asyncio.run(self._run(stage, clock))

    async def _run(self, stage: Stage, clock: Clock) -> None:
        bench = Bench(stage, clock)
        try:
            async with asyncio.timeout(LIMIT):
                await self.play(bench)
        except TimeoutError as error:
            raise AssertionError(f"{self.name}: what has to come did not come within {LIMIT:g} s") from error
        finally:
            async with asyncio.timeout(LIMIT):
                await bench.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=5.0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"still running after close: {left}"


def case(
    *, needs: Callable[[Features], bool] = lambda _: True, server: bool = False, foreign: bool = False
) -> Callable[[Callable[[Bench], Awaitable[None]]], Case]:
    """Make a coroutine function a case, for adapters whose features fit and stages that have what it needs."""

    def made(play: Callable[[Bench], Awaitable[None]]) -> Case:
        return Case(play.__name__, (play.__doc__ or "").strip(), play, needs, server=server, foreign=foreign)

    return made


def numbers(deliveries: Sequence[Delivery]) -> list[str]:
    """What tells the messages of a case apart."""
    return [delivery.message.id.partition("-")[2] for delivery in deliveries]


def expected(*parts: int | str) -> list[str]:
    """Numbers as `numbers` gives them."""
    return [str(part) for part in parts]


def by_key(deliveries: Sequence[Delivery]) -> dict[str, list[str]]:
    """The numbers per key, in the order they came."""
    found: dict[str, list[str]] = {}
    for delivery in deliveries:
        found.setdefault(delivery.message.key, []).extend(numbers([delivery]))
    return found


def positions(deliveries: Sequence[Delivery]) -> Mapping[str, Position]:
    """What a consumer would have written down after handling these."""
    return {delivery.source: delivery.position for delivery in deliveries if delivery.position is not None}


async def raises(kind: type[EventError], work: Awaitable[Any]) -> EventError:
    """The error that this must raise."""
    try:
        result = await work
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, but it returned {result!r}")


async def becomes(ask: Callable[[], Awaitable[int]], wanted: int, clock: Clock) -> None:
    """Wait until the answer is the wanted one: a broker may take a moment to know it."""
    while (answer := await ask()) != wanted:
        assert answer >= 0
        await clock.sleep(0.02)
