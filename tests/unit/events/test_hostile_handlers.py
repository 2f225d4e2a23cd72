"""What a handler raises, whatever it is, is the trouble of its event and of nobody else."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from skerry import errors
from skerry.errors import InvalidEvent
from skerry.events import DomainEvent, Envelope
from skerry.resilience import Retry
from skerry.signals import HandlerFailed
from skerry.testing import run_virtual


class Panic(BaseException):
    """As a library in Rust raises it."""


class Strict(DomainEvent, type="shop.strict.placed", key="order"):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    order: str


RAISED = {
    "a panic": (lambda: Panic("secret"), "Panic"),
    "panics in tasks": (lambda: BaseExceptionGroup("secret", [Panic()]), "BaseExceptionGroup"),
    "a conflict of versions": (lambda: errors.VersionConflict("read it again"), "VersionConflict"),
    "a value that is taken": (lambda: errors.DuplicateValue("taken"), "DuplicateValue"),
    "a document that does not fit": (lambda: errors.InvalidDocument("too deep"), "InvalidDocument"),
    "a query that cannot be": (lambda: errors.InvalidQuery("no such field"), "InvalidQuery"),
    "a lease that is lost": (lambda: errors.LeaseLost("of a role of its own"), "LeaseLost"),
    "a reason with what is no text": (lambda: InvalidEvent("a\x00b\ud800"), "InvalidEvent: a\ufffdb?"),
}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("what", RAISED)
def test_what_a_handler_raises_ends_no_group(staged: Any, heard: list[Any], what: str, waits: bool) -> None:
    """The event is a dead letter after its attempts, others are handled, and nothing stands still."""
    make, reason = RAISED[what]

    async def main(clock: Any) -> None:
        async with staged(clock) as stage:

            async def handle(event: Any, tx: Any) -> None:
                await stage.handle(event, tx)
                if event.n == 1:
                    if waits:
                        await clock.sleep(0.1)
                    raise make()

            stage.listen(handle, retry=Retry(2, base=1.0, cap=1.0))
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(10)
            assert await stage.effects() == [2]
            assert [(letter.key, letter.reason) for letter in await stage.letters.list()] == [("a", reason)]

    run_virtual(main)
    assert {signal.type for signal in heard if isinstance(signal, HandlerFailed)} == {"shop.order.placed"}


def test_a_group_that_is_cancelled_by_its_handler_says_so(staged: Any) -> None:
    """Nobody can tell that from the end of the program, so it ends; but health hears of it."""

    async def main(clock: Any) -> None:
        async with staged(clock) as stage:

            async def handle(_event: Any, _tx: Any) -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await clock.sleep(1.0)

            stage.listen(handle)
            await stage.publish(("a", 1))
            await clock.sleep(5)
            (consumer,) = stage.bus.consumers.values()
            assert consumer.failure == "it was cancelled, by no stop: it handles nothing until the service starts again"

    run_virtual(main)


def test_a_reason_holds_no_name_out_of_the_data() -> None:
    """A class that forbids other fields says that there is one, and not what it is called."""
    envelope = Envelope("1", "billing", "shop.strict.placed", "", "a", 1, {"order": "a", "secret\x00": 1})
    with pytest.raises(InvalidEvent) as raised:
        Strict.from_envelope(envelope)
    assert str(raised.value) == "shop.strict.placed version 1: data: extra_forbidden"
