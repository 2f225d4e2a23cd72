"""The last release on today's schema, and back: what a rolling upgrade does to a service's own database."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration" / "shop"))

from running import SHOP, Shop  # noqa: E402

RELEASES = sorted(HERE.glob("skerry-*.whl"))


def order_and_look(data: Path, folder: Path, environ: dict[str, str] | None, before: list[str]) -> str:
    """Run a shop on `data`: earlier orders are still as they were, and a new one is confirmed."""
    shop = Shop(data, folder=folder, environ=environ)
    try:
        for order_id in before:
            assert shop.http.get(f"/api/orders/{order_id}").json()["order"]["status"] == "confirmed"
        order_id = shop.order(lines=[{"sku": "LAMP-1", "quantity": 1}]).json()["order_id"]
        assert shop.ended(order_id)["order"]["status"] == "confirmed"
        shop.until((data / "notification" / "email" / f"{order_id}.txt").is_file)
    finally:
        assert shop.close() == 0
    return str(order_id)


@pytest.mark.demo
def test_the_last_release_works_on_the_new_schema(tmp_path: Path) -> None:
    """Data written by today's code is read and written by the last release, and then by today's code again."""
    assert RELEASES, "no release is kept here"
    old = tmp_path / "old"
    with zipfile.ZipFile(RELEASES[-1]) as wheel:
        wheel.extractall(old)
    environ = {**os.environ, "PYTHONPATH": str(old)}
    where = [sys.executable, "-c", "import skerry; print(skerry.__file__)"]
    assert subprocess.run(where, env=environ, capture_output=True, text=True, check=True).stdout.startswith(str(old))
    data = tmp_path / "data"
    first = order_and_look(data, SHOP, None, [])
    second = order_and_look(data, old / "skerry" / "_examples" / "shop", environ, [first])
    order_and_look(data, SHOP, None, [first, second])
