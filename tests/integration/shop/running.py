"""A shop as its users have it: `skerry run` in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

SHOP = Path(__file__).parents[3] / "examples" / "shop"
PATIENCE = 60.0
SKERRY = [sys.executable, "-m", "skerry"]


class Shop:
    """A running shop: its address, its folder, its command line."""

    def __init__(self, data: Path, *engines: str, folder: Path = SHOP, environ: dict[str, str] | None = None) -> None:
        self.data = data
        command = [*SKERRY, "run", "--port", "0", "--data", str(data), "-o", "json", *engines]
        self.servers = [word for word in engines if word in {"postgresql", "nats"}]
        self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        event: dict[str, Any] = {}
        while event.get("state") != "ready" or event["event"] != "system":
            line = self.process.stdout.readline()
            if not line:
                self.process.stdout.close()
                raise RuntimeError(f"the shop did not start: exit code {self.process.wait(30)}")
            event = json.loads(line)
        self.http = httpx2.Client(base_url=event["url"], timeout=15.0, trust_env=False)

    def command(self, *words: str) -> Any:
        done = subprocess.run(
            [*SKERRY, *words, "--data", str(self.data), "-o", "json"], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    def order(self, token: str = "tok_ok", lines: Any = None, key: str | None = None, **more: Any) -> httpx2.Response:
        body = {"customer_id": "ann", "lines": lines or [{"sku": "LAMP-1", "quantity": 2}], "payment_token": token}
        return self.http.post("/api/orders", json=body | more, headers={"Idempotency-Key": key} if key else {})

    def until(self, look: Callable[[], Any]) -> Any:
        give_up = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < give_up, "this never became true"
            time.sleep(0.05)
        return found

    def ended(self, order_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            response = self.http.get(f"/api/orders/{order_id}")
            if response.status_code != 200:
                return None
            found: dict[str, Any] = response.json()
            return None if found["order"]["status"] == "pending" else found

        found: dict[str, Any] = self.until(look)
        return found

    def close(self) -> int:
        self.http.close()
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
