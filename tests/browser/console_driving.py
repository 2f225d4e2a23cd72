"""What a person does with the console's pages, and where on them."""

from __future__ import annotations

from chromium import Chromium

H1 = "document.querySelector('main h1').innerText"
EDGE = """document.querySelector('[data-edge="[\\\\"order\\\\",\\\\"payment\\\\",\\\\"call\\\\"]"]')"""
DIALOG = "document.querySelector('dialog')"


def go(page: Chromium, path: str, *, until: str) -> None:
    """Another page of the console, once it shows a text."""
    page.run(f"location.hash = '#/{path}'")
    page.until(f"document.querySelector('main')?.innerText.includes({until!r})")


def click(page: Chromium, words: str, *, within: str = "document", near: str = "") -> None:
    """Click the button that begins with these words, once it is there: in the list entry or row that has `near`."""
    button = f"[...{within}.querySelectorAll('button')].find(b => b.innerText.startsWith({words!r})"
    button += f" && (b.closest('li, tr')?.innerText ?? '').includes({near!r}))" if near else ")"
    page.until(f"({button}) && (({button}).click(), true)")


def confirm(page: Chromium, words: str, *, reason: str = "") -> None:
    """Agree in the dialog, by its button with these words; it then is closed."""
    page.until(f"{DIALOG}.open")
    if reason:
        page.run("document.querySelector('dialog textarea').focus()")
        page.type(reason)
    click(page, words, within=DIALOG)
    page.until(f"!{DIALOG}.open")
