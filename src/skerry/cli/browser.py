"""Opening the console in a browser, where there can be one: never in the way of a system, and never with the token in sight."""

from __future__ import annotations

import contextlib
import html
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PAGE: Final = "open.html"


def is_there(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Whether this person can have a browser: on a display of this machine, not at the far end of a connection."""
    environ = os.environ if environ is None else environ
    if platform == "darwin":
        return not environ.get("SSH_CONNECTION")
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_page(url: str, folder: Path) -> None:
    """Have a browser open `url`, which holds a token, by a page of its owner's alone in `folder`.

    Returns at once; that no browser comes is no error. Its command line, which everybody on the machine can read, names
    that page only.
    """
    page = folder / PAGE
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        page.unlink(missing_ok=True)
        descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_forward(url))
        threading.Thread(target=_open, args=(page.resolve().as_uri(),), name="skerry-browser", daemon=True).start()


def _forward(url: str) -> str:
    where = html.escape(url, quote=True)
    return (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>skerry</title>'
        f'<meta http-equiv="refresh" content="0;url={where}"><p><a href="{where}">To the console</a>\n'
    )


def _open(url: str) -> None:
    import webbrowser

    with contextlib.suppress(Exception):  # whatever somebody's browser does, the system runs on
        browser = webbrowser.get()
        # one that draws in the terminal would take it from the system's own lines
        if type(browser) is not webbrowser.GenericBrowser:
            browser.open(url)
