"""Every page of the console of a shop that runs, as axe sees it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium
from console_axe import violations
from console_driving import DIALOG, EDGE, H1, click, go
from console_shop import LiveShop

pytestmark = [pytest.mark.chromium, pytest.mark.node]


@pytest.fixture
def shop(tmp_path) -> Iterator[LiveShop]:
    """One of its own: a service that falls once more than elsewhere comes and goes."""
    live = LiveShop(tmp_path)
    yield live
    assert live.close() == 0


@pytest.fixture
def page(tmp_path_factory) -> Iterator[Chromium]:
    opened = Chromium(tmp_path_factory.mktemp("profile"), width=1360)
    yield opened
    opened.close()


def test_axe_finds_nothing_on_any_page_well_or_in_trouble(page: Chromium, shop: LiveShop) -> None:
    """All is well, then payment is down and a saga is stuck: each page and a dialog, in light and dark, with real contents."""
    found: dict[tuple[str, str], list[str]] = {}

    def look(at: str) -> None:
        for scheme in ("dark", "light"):
            page.scheme(scheme)
            found[at, scheme] = violations(page)

    page.open(shop.opening)
    page.until(f"{H1}.includes('services are healthy')")
    look("well")
    saga = shop.in_trouble("parcel-seen")
    [letter] = [one["id"] for one in shop.view()["people"] if one["kind"] == "dead"]
    shop.tell("hold", "payment")
    page.until(f"{H1}.includes('payment is held back since') && {EDGE}.classList.contains('open')")
    look("payment down")
    shop.until(lambda: shop.console.get("/api/traces?errors=1").json())
    trace = max(shop.console.get("/api/traces?errors=1").json(), key=lambda one: one["spans"])["id"]
    pages = {
        "service/order": "What it depends on",
        "traces": "POST /api/orders",
        f"traces/{trace}": " spans in ",
        "sagas": "parcel-seen",
        f"sagas/returns/{saga}": "Timeline",
        "dead": "parcel-seen",
        f"dead/returns/{letter}": '"remark"',
        "strangler": "Strangler",
        "checks": "They have not run yet",
        "audit": "Audit",
    }
    for path, text in pages.items():
        go(page, path, until=text)
        if path == f"traces/{trace}":
            page.run("document.querySelector('main ol button').click()")
            page.until("document.querySelector('main ol dl')")
        if path == "checks":
            click(page, "Run them now")
            page.until("/ in \\d+ services and \\d+ files/.test(document.querySelector('main').innerText)")
        look(path)
        if path.startswith("sagas/"):
            click(page, "Resolve")
            page.until(f"{DIALOG}.open")
            look("dialog")
            page.press("Escape")
    assert {at: wrong for at, wrong in found.items() if wrong} == {}
    assert page.complaints == []
