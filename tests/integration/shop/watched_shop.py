"""A running shop with its console: what it tells, and how it is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
from running import SHOP, Shop


class WatchedShop(Shop):
    """A shop with its console, as the last line that tells of its start says where that is."""

    def __init__(self, data: Path, *engines: str, folder: Path = SHOP) -> None:
        super().__init__(data, "--console", *engines, folder=folder)
        assert self.process.stdout is not None
        told: dict[str, Any] = {}
        while told.get("event") != "console":
            told = json.loads(self.process.stdout.readline())
        self.opening = told["open"]
        token = (data / "secrets" / "console.token").read_text().strip()
        self.console = httpx2.Client(
            base_url=told["url"], headers={"authorization": f"Bearer {token}"}, timeout=15.0, trust_env=False
        )

    def close(self) -> int:
        self.console.close()
        return super().close()

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.console.get("/api/view").raise_for_status().json()
        return found

    def says(self, level: str, subject: str | None) -> bool:
        sentence = self.view()["sentence"]
        return (sentence["level"], sentence["subject"]) == (level, subject)
