"""The monolith with the two services that leave it, without a gateway: each is asked at its own address."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "shop"))

from running import Shop

FOLDER = Path(__file__).parents[3] / "examples" / "strangler"


class Parts(Shop):
    """A running system, and clients for each of its services."""

    def __init__(self, data: Path) -> None:
        super().__init__(data, folder=FOLDER)
        urls = {info["name"]: info["url"] for info in self.command("ps")["processes"]}
        self.side = {
            name: httpx2.Client(base_url=urls[name], timeout=15.0, trust_env=False)
            for name in ("monolith", "catalogue", "orders")
        }

    def caught_up(self, name: str) -> dict[str, int]:
        """Wait until a service has all that the monolith has told of its part; how far it is then."""

        def look() -> dict[str, int] | None:
            position: dict[str, int] = self.side[name].get(f"/positions/{name}").json()
            told: dict[str, int] = self.side["monolith"].get(f"/positions/{name}").json()
            return position if position["seen"] >= told["written"] else None

        found: dict[str, int] = self.until(look)
        return found

    def close(self) -> int:
        for client in self.side.values():
            client.close()
        return super().close()


@pytest.fixture(scope="package")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    running = Parts(tmp_path_factory.mktemp("strangler"))
    yield running
    assert running.close() == 0
