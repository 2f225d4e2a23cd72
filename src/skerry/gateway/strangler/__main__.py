"""`python -m skerry.gateway.strangler --spec FILE --state DIR`: decides about the ramps of a state folder until told to stop.

A gateway that strangles a route starts it and keeps it; see `skerry.gateway.strangler.keeping`. One at a time works on a folder;
another waits for its turn. SIGTERM ends it, and so does the end of standard input when `SKERRY_SUPERVISED` is 1.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from skerry.clock import SYSTEM
from skerry.errors import ConfigurationError
from skerry.gateway.strangler.controller import EVERY, SOON, Controller
from skerry.settings import Settings
from skerry.telemetry import configure_logging, log_signals

_log = logging.getLogger("skerry.gateway.strangler")
LOCK = "controller.lock"
NAME = "strangler"
AGAIN = 60.0
"""Seconds after which the same trouble is told again."""


def main(arguments: list[str]) -> int:
    """Work until told to stop. Returns the exit status: 0 after a clean stop, 2 for a wrong specification or setting."""
    parser = argparse.ArgumentParser(prog="python -m skerry.gateway.strangler", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="the gateway's specification")
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.from_environ()
        configure_logging(NAME, settings.log_level)
        log_signals(service=NAME, level=settings.log_level)
        if settings.supervised:
            threading.Thread(target=_until_end, args=(stop,), daemon=True).start()
        _work(options.spec, options.state, stop)
    except ConfigurationError as error:
        print(f"strangler: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


class _Looking:
    """Looks on although the state folder cannot be written: what is counted is there still the next time."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._told = ""
        self._at = 0.0

    def look(self) -> None:
        """One look. Why it failed is told when it is news, or once more after a while."""
        try:
            self._controller.look()
        except ConfigurationError as error:
            now = SYSTEM.monotonic()
            if str(error) != self._told or now - self._at > AGAIN:
                _log.error("ramps stay where they are: %s", error)
                self._told, self._at = str(error), now


def _work(spec: Path, folder: Path, stop: threading.Event) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as held:
        while not _locked(held.fileno()):
            if SYSTEM.wait(stop, EVERY):
                return
        controller = Controller(spec, folder)
        try:
            due, looking = 0.0, _Looking(controller)
            while not SYSTEM.wait(stop, SOON):
                if SYSTEM.monotonic() >= due or controller.awaited:
                    due = SYSTEM.monotonic() + EVERY
                    looking.look()
        finally:
            controller.close()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _until_end(stop: threading.Event) -> None:
    """Whoever supervises holds the other end of standard input."""
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
