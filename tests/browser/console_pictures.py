"""Takes the documentation's pictures of the console, from a shop that runs: `python tests/browser/console_pictures.py [FOLDER]`.

Without a folder they go where the documentation has them. It takes about two minutes, and its seconds are in the pictures.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chromium import Chromium
from console_shop import LiveShop

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTHS = {"": 1280, "-wide": 1600, "-narrow": 400}
"""What else than the usual width is looked at, and not kept in the documentation."""
WARM = 45.0
"""Seconds of orders before the first picture, so that there is something to draw."""
KEPT = ("quiet", "payment-down", "saga", "service", "trace")
"""The pages that the documentation shows, each down to `TALL`."""
TALL = 1280
OPEN = 20.0
"""Seconds for which payment is down by the time of its pictures."""


@contextmanager
def shop(folder: Path) -> Iterator[LiveShop]:
    live = LiveShop(folder)
    try:
        yield live
    finally:
        live.close()


class Album:
    """Pictures of pages, each in light and dark, and in all widths when they go somewhere else than to the documentation."""

    def __init__(self, browser: Chromium, console: str, folder: Path) -> None:
        self._browser = browser
        self._folder = folder
        self._widths = {"": WIDTHS[""]} if folder == IMAGES else WIDTHS
        browser.open(console)
        browser.until("document.querySelector('main h1')")

    def take(self, name: str, path: str, *, until: str) -> None:
        """Of a page, once it shows a text."""
        documented = self._folder == IMAGES
        if documented and name not in KEPT:
            return
        self._browser.run(f"location.hash = '#/{path}'")
        self._browser.until(f"document.querySelector('main').innerText.includes({until!r})")
        for suffix, width in self._widths.items():
            self._browser.size(width, 900)
            for scheme in ("light", "dark"):
                self._browser.scheme(scheme)
                self._browser.until("new Promise(done => setTimeout(() => done({}), 700))")
                picture = self._browser.picture(height=TALL if documented else None)
                (self._folder / f"console-{name}{suffix}-{scheme}.png").write_bytes(picture)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as kept, shop(Path(kept)) as live:
        browser = Chromium(Path(kept) / "profile", "--hide-scrollbars", width=WIDTHS[""])
        try:
            album = Album(browser, live.opening, folder)
            threading.Event().wait(WARM)
            live.quiet()
            album.take("quiet", "", until="services are healthy")
            saga = live.in_trouble("parcel-4711")
            live.tell("hold", "payment")
            threading.Event().wait(OPEN)
            album.take("payment-down", "", until="payment is held back")
            album.take("saga", f"sagas/returns/{saga}", until="Timeline")
            album.take("service", "service/order", until="What depends on it")
            album.take("dead", "dead", until="parcel-4711")
            failed = live.console.get("/api/traces", params={"service": "payment", "limit": 20}).json()
            longest = max(failed, key=lambda line: line["spans"])
            album.take("trace", f"traces/{longest['id']}", until="took")
            album.take("traces", "traces", until="the newest first")
            live.tell("release", "payment")
        finally:
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
