"""The shop with its console, customers who go on ordering, and a service of ours that can be brought into trouble."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "shop"))

from running import SHOP
from watched_shop import WatchedShop

from skerry.deploy import ask, running

HERE = Path(__file__).parent
RETURNS = """
[topics."shop.parcel.returned"]
owner = "returns"
description = "a customer sends a parcel back"

[services.returns]
app = "returning:service"
description = "parcels that come back"
database = "sqlite:///returns.db"
calls = ["payment"]
publishes = ["shop.parcel.returned"]
subscribes = ["shop.parcel.returned"]
"""
PLENTY = 100_000
PATIENCE = 60.0
"""Seconds for what has to come about; nothing here waits that long unless it never comes."""


class Customers:
    """They order about `rate` times a second and look at what they ordered, whatever the shop answers."""

    def __init__(self, url: str, *, rate: float = 6.0) -> None:
        self._pause = 1.0 / rate
        self._ended = threading.Event()
        self._url = url
        self._threads = [threading.Thread(target=self._buy, args=(number,), daemon=True) for number in range(2)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _buy(self, number: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=5.0, trust_env=False) as http:
            while not self._ended.wait(self._pause * len(self._threads)):
                try:
                    http.get("/api/products")
                    lines = [{"sku": "LAMP-1", "quantity": 1}]
                    body = {"customer_id": f"ann-{number}", "lines": lines, "payment_token": "tok_ok"}
                    placed = http.post("/api/orders", json=body)
                    if placed.status_code == 202:
                        http.get(f"/api/orders/{placed.json()['order_id']}")
                except httpx2.HTTPError:
                    continue


class LiveShop(WatchedShop):
    """`opening` is the console's address with its token. Close it, or its processes stay."""

    def __init__(self, folder: Path, *engines: str) -> None:
        system = folder / "shop"
        shutil.copytree(SHOP, system, ignore=shutil.ignore_patterns("__pycache__", "var"))
        shutil.copy(HERE / "returning.py", system)
        with (system / "skerry.toml").open("a") as file:
            file.write(RETURNS)
        super().__init__(folder / "data", *engines, folder=system)
        self.http.post("/api/inventory/restock", json={"sku": "LAMP-1", "quantity": PLENTY}).raise_for_status()
        [entry] = [one for one in running() if Path(one.data).resolve() == self.data.resolve()]
        self._socket = Path(entry.socket)
        [self._returns] = [one["url"] for one in self.processes() if one["name"] == "returns"]
        self.customers = Customers(str(self.http.base_url))

    def close(self) -> int:
        self.customers.close()
        return super().close()

    def tell(self, op: str, name: str) -> float:
        """Have the supervisor `hold`, `release` or `kill` a process; when that was asked for."""
        at = time.time()
        ask(self._socket, op, name)
        return at

    def processes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask(self._socket, "ps")["processes"]
        return found

    def refuse(self) -> None:
        """From now on nothing of returns can be undone or handled."""
        (self.data / "refusing").touch()

    def mend(self) -> None:
        """The opposite of `refuse`."""
        (self.data / "refusing").unlink(missing_ok=True)

    def give_back(self, parcel: str, remark: str = "it does not fit") -> str:
        """A parcel comes back; the id of its saga."""
        body = {"parcel": parcel, "remark": remark}
        with httpx2.Client(timeout=15.0, trust_env=False) as http:
            answer = http.post(f"{self._returns}/returns", json=body).raise_for_status()
        saga: str = answer.json()["saga"]
        return saga

    def handled(self) -> list[str]:
        """The parcels whose event was handled."""
        with httpx2.Client(timeout=15.0, trust_env=False) as http:
            found: list[str] = http.get(f"{self._returns}/returns").raise_for_status().json()
        return found

    def in_trouble(self, parcel: str, remark: str = "it does not fit") -> str:
        """A saga of this parcel is stuck, and its event is a dead letter; the id of the saga."""
        self.refuse()
        saga = self.give_back(parcel, remark)
        self.seen(lambda view: {one["id"] for one in view["people"] if one["kind"] == "saga"} >= {saga})
        self.seen(lambda view: any(one["kind"] == "dead" and parcel in one["title"] for one in view["people"]))
        return saga

    def saga(self, saga_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.console.get(f"/api/sagas/returns/{saga_id}").raise_for_status().json()
        return found

    def seen(self, wanted: Callable[[dict[str, Any]], Any], *, patience: float = PATIENCE) -> dict[str, Any]:
        """The first view of which `wanted` is true."""
        give_up = time.monotonic() + patience
        while not wanted(view := self.view()):
            assert time.monotonic() < give_up, f"never, but {view['sentence']}, {view['people']}"
            threading.Event().wait(0.05)
        return view

    def quiet(self) -> dict[str, Any]:
        """The view once nothing fails and nothing waits for anybody."""
        return self.seen(lambda view: view["sentence"]["level"] == "ok" and not view["people"])
