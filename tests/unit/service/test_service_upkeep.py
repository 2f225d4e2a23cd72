from __future__ import annotations

from pathlib import Path

from skerry import Service
from skerry.settings import Settings
from skerry.store import RETENTION
from skerry.testing import VirtualClock, run_virtual


def test_receipts_past_their_retention_are_deleted(tmp_path: Path) -> None:
    """A service forgets its idempotency keys after thirty days, batch by batch, and no others."""

    async def main(clock: VirtualClock) -> None:
        service = Service("one", database="sqlite:///one.db", settings=Settings(data=tmp_path), clock=clock)

        async def answer() -> str:
            return "done"

        async def keep(count: int, name: str) -> None:
            async with service.transaction() as tx:
                for number in range(count):
                    await service.once(tx, f"{name}-{number}", None, answer, scope="test")

        async def kept() -> int:
            return int((await service.database.fetch_one("SELECT count(*) FROM skerry_receipts"))[0])

        await service.start()
        await keep(1500, "old")
        clock.step_wall(RETENTION + 1)
        await keep(3, "new")
        await clock.sleep(3600.5)
        assert await kept() == 503
        await clock.sleep(2.0)
        assert await kept() == 3
        await service.stop()

    run_virtual(main)
