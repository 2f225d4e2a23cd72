"""`skerry logs`: what the processes of a system wrote."""

from __future__ import annotations

import heapq
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from skerry.cli import options
from skerry.clock import SYSTEM
from skerry.deploy import running
from skerry.deploy.colours import wants_colour
from skerry.deploy.readable import Prefixes
from skerry.errors import ConfigurationError, DeployError

FOLDER: Final = "logs"
LOOK_EVERY: Final = 0.2
MOST: Final = 4 * 1024 * 1024
"""Bytes of a file that are looked at for its last lines."""
LONGEST: Final = 64 * 1024
"""Bytes of a line that has no end yet; beyond it, it is shown as it is."""

_TIME: Final = re.compile(r'\{"time": "([0-9T:.-]{19,30}Z)"')
"""Of a line as services and gateways write it."""


@click.command(epilog="Example: skerry logs payment --lines 20")
@click.argument("process", nargs=-1)
@options.which_system
@click.option(
    "--lines", type=click.IntRange(0, 100_000), default=100, show_default=True, help="Of each, the last ones."
)
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@options.output
def logs(
    process: tuple[str, ...], data: Path | None, file: Path | None, lines: int, output: str, *, follow: bool
) -> None:
    """Show what processes of a system wrote, all of them when none is named.

    Of a running system; with --data also of one that has ended. JSON is one object a line: the process and what it wrote, as
    an object where that is JSON itself.
    """
    folder = _folder(data, file)
    known = sorted(path.name.removesuffix(".log") for path in folder.glob("*.log"))
    unknown = [name for name in process if name not in known]
    if unknown:
        raise ConfigurationError(
            f"there is no log of {unknown[0]!r} in {folder}; there are: {', '.join(known) or 'none'}"
        )
    names = list(process) or known
    prefixes = Prefixes(known, colour=wants_colour(sys.stdout, os.environ), only=names)
    tails = [Tail(folder / f"{name}.log", name) for name in names]
    try:
        for name, line in in_order({tail.name: tail.last(lines) for tail in tails}):
            _show(name, line, prefixes, output)
        while follow:
            for tail in tails:
                for line in tail.new():
                    _show(tail.name, line, prefixes, output)
            SYSTEM.sleep_sync(LOOK_EVERY)
    except KeyboardInterrupt:
        return
    finally:
        for tail in tails:
            tail.close()


def _folder(data: Path | None, file: Path | None) -> Path:
    if data is not None and (data / FOLDER).is_dir():
        return data / FOLDER
    try:
        return Path(options.running_system(data, file).data) / FOLDER
    except DeployError:
        if data is not None:
            what = f"there is no folder {data / FOLDER}, and no system runs with that data folder"
        elif running():
            raise
        else:
            what = "no system is running: name the data folder of one that has ended with --data"
        raise DeployError(what) from None


def _show(name: str, line: str, prefixes: Prefixes, output: str) -> None:
    if output == "text":
        click.echo(prefixes.line(name, line), color=True)
        return
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    click.echo(json.dumps({"process": name, "said": said if isinstance(said, dict) else line}))


def in_order(found: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The lines of several processes by the time they tell, each process's own in their order.

    A line that tells none comes with the one before it.
    """

    def timed(name: str) -> Iterator[tuple[str, str, str]]:
        latest = ""
        for line in found[name]:
            latest = max(latest, time[1] if (time := _TIME.match(line)) else "")
            yield latest, name, line

    return ((name, line) for _, name, line in heapq.merge(*map(timed, found), key=lambda each: each[0]))


class Tail:
    """The end of a file that others append to, also when it is replaced by a new one."""

    def __init__(self, path: Path, name: str) -> None:
        self.name: str = name
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """The last whole lines, at most so many; what comes after them is new."""
        file = self._open()
        if file is None:
            return []
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - MOST))
        *whole, self._rest = file.read(end - file.tell()).split(b"\n")
        if end > MOST:
            whole = whole[1:]
        return [_text(line) for line in whole[len(whole) - count :]] if count else []

    def new(self) -> Iterator[str]:
        """Lines that came since."""
        file = self._open()
        if file is None:
            return
        while piece := file.read(MOST):
            *whole, self._rest = (self._rest + piece).split(b"\n")
            yield from map(_text, whole)
            if len(self._rest) > LONGEST:
                yield _text(self._rest)
                self._rest = b""
        if self._replaced(file):
            self.close()
            yield from self.new()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _open(self) -> BinaryIO | None:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:  # between its end and the next one, or not there yet
                return None
        return self._file

    def _replaced(self, file: BinaryIO) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except OSError:
            return False


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")
