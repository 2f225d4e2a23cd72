"""The console of a shop on PostgreSQL: what waits in its databases is read there, and settled there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "browser"))

from console_shop import LiveShop


def act(shop: LiveShop, path: str, confirm: str | int, **more: Any) -> dict[str, Any]:
    body = {"confirm": confirm, "reason": "set right", **more}
    done: dict[str, Any] = shop.console.post(path, json=body, headers={"x-skerry": "1"}).raise_for_status().json()
    return done


def test_sagas_letters_and_outboxes_on_postgresql_are_read_and_settled(tmp_path) -> None:
    """A saga that is stuck and a letter that was refused are shown, resolved and replayed as on the embedded database."""
    shop = LiveShop(tmp_path, "--database", "postgresql")
    try:
        shop.quiet()
        asked = {"order", "shipping", "returns"}
        shop.seen(lambda view: {one["service"] for one in view["strip"]["outboxes"]} >= asked)
        shop.seen(lambda view: view["strip"]["sagas"]["running"] > 0)
        saga = shop.in_trouble("parcel-pg")
        assert shop.saga(saga)["stands_at"] == "take_back"
        done = act(shop, f"/api/sagas/returns/{saga}/resolve", saga, **{"as": "compensated"})
        assert done["status"] == "compensated"
        shop.mend()
        [letter] = shop.console.get("/api/dead").json()["dead"]
        act(shop, f"/api/dead/returns/{letter['id']}/replay", letter["id"])
        shop.until(lambda: "parcel-pg" in shop.handled())
        shop.quiet()
        kept = shop.console.get("/api/audit").json()["audit"]
        assert {(one["action"], one["outcome"]) for one in kept} == {("resolve", "done"), ("replay", "done")}
    finally:
        code = shop.close()
    assert code == 0
