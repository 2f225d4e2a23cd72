"""A disk that is really full: a small file system of its own, which takes root to make."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry import DomainEvent, Service, Transaction
from skerry.clock import SYSTEM
from skerry.errors import StoreError
from skerry.settings import Settings

SIZE_MIB, FILLER_MIB, PATIENCE = 12, 6, 30.0


class Noted(DomainEvent, type="noted", version=1, key="lane"):
    lane: str
    number: int
    text: str


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def fill(service: Service, acknowledged: list[int]) -> None:
    """Record events until the disk takes no more; what was acknowledged is written down."""
    for number in range(5000):
        try:
            async with service.transaction() as tx:
                await service.outbox.record(tx, Noted(lane=str(number % 7), number=number, text="x" * 10_000))
        except StoreError:
            return
        acknowledged.append(number)
    pytest.fail("the disk never got full")


async def run(disk: Path) -> tuple[list[int], list[int], str]:
    filler = disk / "filler"
    filler.write_bytes(b"\0" * FILLER_MIB * 1024 * 1024)
    service = Service("one", database="sqlite:///one.db", events="sqlite:///events/", settings=Settings(data=disk))
    acknowledged: list[int] = []
    handled: list[int] = []

    @service.on(Noted)
    async def note(event: Noted, tx: Transaction) -> None:
        tx.on_commit(lambda: handled.append(event.number))

    await service.start()
    await fill(service, acknowledged)
    filler.unlink()
    async with service.transaction() as tx:
        await service.outbox.record(tx, Noted(lane="after", number=9999, text=""))
    acknowledged.append(9999)
    give_up = SYSTEM.monotonic() + PATIENCE
    while len(handled) < len(acknowledged) and SYSTEM.monotonic() < give_up:
        await SYSTEM.sleep(0.05)
    check = (await service.database.fetch_one("PRAGMA quick_check(1)"))[0]
    await service.stop()
    return acknowledged, handled, str(check)


@pytest.mark.root
def test_a_full_disk_fails_loudly_and_loses_nothing(disk: Path) -> None:
    """Writes fail while the disk is full; with room again the same process goes on, and all that was acknowledged arrives."""
    acknowledged, handled, check = asyncio.run(run(disk))
    assert len(acknowledged) > 50
    assert sorted(handled) == sorted(acknowledged)
    assert check == "ok"
