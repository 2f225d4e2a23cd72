"""The console that `skerry run` and `skerry demo` bring along, and its page in a browser."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import subprocess
import sys
from contextlib import closing
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from skerry.cli import browser, watching
from skerry.cli.run import TextProgress
from skerry.cli.watching import console_for
from skerry.deploy import Console, ConsoleServer
from skerry.errors import MissingExtra
from skerry.topology import ServiceSpec, System

SYSTEM = System(name="shop", file=Path("/skerry.toml"), services={})
URL = 'http://127.0.0.1:4318/?token=a"b<c'

OPEN = """
import os, pathlib, sys, threading
from skerry.cli import browser
browser.open_page(sys.argv[1], pathlib.Path(sys.argv[2]))
for thread in threading.enumerate():
    if thread.name == "skerry-browser":
        thread.join()
os.wait()
"""
"""In a process of its own, for the standard library chooses a browser once in each."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in watching.PACKAGES else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_a_console_is_there_unless_somebody_says_no() -> None:
    """Where it is welcome or wanted it runs; `--no-console` turns it off without a word."""
    assert console_for(SYSTEM, wanted=None)[0] is not None
    assert console_for(SYSTEM, wanted=True)[0] is not None
    assert console_for(SYSTEM, wanted=False) == (None, "")


@pytest.mark.usefixtures("bare")
def test_without_its_extra_a_system_runs_without_a_console() -> None:
    """One line says what to install; only who asked for a console gets an error."""
    assert console_for(SYSTEM, wanted=None) == (
        None,
        "there is no console: The console needs packages that are not installed: pip install 'skerry[console]'",
    )
    with pytest.raises(MissingExtra, match=r"skerry\[console\]"):
        console_for(SYSTEM, wanted=True)


def test_a_service_of_that_name_comes_first() -> None:
    """A system with a service named console starts as it always did, and says that it has no console."""
    services = {"console": ServiceSpec(name="console", app="console.app:service")}
    console, why = console_for(System(name="shop", file=Path("/skerry.toml"), services=services), wanted=None)
    assert console is None
    assert "a service named console" in why


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, "darwin", False),
    ],
)
def test_a_browser_needs_a_display(environ: dict[str, str], platform: str, expected: bool) -> None:
    """A browser is opened only where somebody sits before it."""
    assert browser.is_there(environ, platform) is expected


def test_the_token_is_in_no_command_line(tmp_path: Path) -> None:
    """The browser is given a page of its owner's alone, which leads on to the address; the address does nothing to the page."""
    seen = tmp_path / "seen"
    program = tmp_path / "a-browser"
    program.write_text(f'#!{sys.executable}\nimport sys\nopen({str(seen)!r}, "w").write(sys.argv[1])\n')
    program.chmod(0o700)
    folder = tmp_path / "console"
    for _ in range(2):  # again: a page that is there already is no trouble
        environ = {**os.environ, "BROWSER": f"{program} %s &"}
        subprocess.run([sys.executable, "-c", OPEN, URL, str(folder)], env=environ, check=True, timeout=60)
    page = folder / browser.PAGE
    assert seen.read_text() == page.as_uri()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text()
    assert re.findall(r'(?:url=|href=")([^"]*)"', text) == [URL.replace('"', "&quot;").replace("<", "&lt;")] * 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """No page, no browser, and the system runs on."""
    (tmp_path / "console").touch()
    browser.open_page(URL, tmp_path / "console")


def test_the_address_is_said_where_somebody_reads_it(tmp_path: Path) -> None:
    """The text of `run` has the address that opens the console, and why there is none if there is none."""
    server = ConsoleServer(SYSTEM.file)
    server.url, server.token = "http://127.0.0.1:4318", "secret"
    with (tmp_path / "said").open("w") as stream, closing(Console(stream, [])) as console:
        progress = TextProgress(SYSTEM, console, [])
        progress.watched(server)
        progress.note("there is no console")
        progress.note("")
    assert (tmp_path / "said").read_text() == (
        "skerry: the console is at http://127.0.0.1:4318/?token=secret\nskerry: there is no console\n"
    )
