"""What the verbs that read a repository have in common: their arguments, and a word on how far they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from skerry.cli.text import write
from skerry.clock import SYSTEM
from skerry.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from skerry.architecture.analyse import Progress
    from skerry.architecture.rules import Subject

DRAWN_EVERY: Final = 0.1
"""Seconds between two drawings of a bar."""
EVERY: Final = 5.0
"""Seconds between two lines of progress where no terminal shows a bar."""
MAX_MANIFESTS: Final = 64 * 1024 * 1024
"""Bytes that are taken from standard input."""
USAGE: Final = 2
F = TypeVar("F", bound=Callable[..., Any])

path: Callable[[F], F] = click.argument(
    "path", type=click.Path(exists=True, file_okay=False, path_type=Path), default="."
)
traces: Callable[[F], F] = click.option(
    "--traces",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Traces of the running system: OTLP JSON lines, Jaeger or Zipkin JSON. May be repeated.",
)
manifests: Callable[[F], F] = click.option(
    "--manifests",
    type=click.File("rb"),
    metavar="FILE",
    help="What `helm template` or `kustomize build` printed; - for standard input.",
)
cached: Callable[[F], F] = click.option(
    "--cache/--no-cache",
    default=True,
    show_default=True,
    help="Keep what was read in the user's cache folder, so that the next time only changes are read.",
)


def written(command: F) -> F:
    """Option `--output`."""
    return click.option(
        "--output",
        "file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write it there instead of printing it.",
    )(command)


def read(folder: Path, *, traces: tuple[Path, ...] = (), manifests: Any = None, cache: bool = True) -> Subject:
    """Read a repository, and say on standard error how far it is. Ends the command with status 2 when it cannot be read."""
    with usage():
        installed()
        from skerry.architecture.analyse import analyse
        from skerry.architecture.source import cache as kept

        with told() as progress:
            return analyse(
                folder,
                traces=traces,
                given=_given(manifests),
                cache=kept.folder() if cache else None,
                progress=progress,
            )


def installed() -> None:
    """Raises `MissingExtra` where the analyser cannot be loaded."""
    try:
        import skerry.architecture.analyse  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("Reading a repository", "check") from error


@contextmanager
def usage() -> Iterator[None]:
    """Make an error of what the user asked for one line and status 2: 1 is for findings."""
    try:
        yield
    except ConfigurationError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)


def put(text: str, file: Path | None) -> None:
    """Print the text, or write it to `file`. Ends the command with status 2 when it cannot be written."""
    if file is None:
        click.echo(text, nl=False)
        return
    with usage():
        write(text, file)
    click.echo(f"written to {file}", err=True)


def looks(file: Path | None) -> dict[str, Any]:
    """How wide a text may be, and whether it may have colours."""
    shown = file is None and sys.stdout.isatty()
    width = min(os.get_terminal_size(sys.stdout.fileno()).columns, 120) if shown else 100
    return {"width": width or 100, "colour": shown and "NO_COLOR" not in os.environ}


@contextmanager
def told() -> Iterator[Progress]:
    """A bar on a terminal, a line now and then where standard error goes elsewhere."""
    if not sys.stderr.isatty():
        yield Lines(lambda line: click.echo(line, err=True))
        return
    with Bar() as bar:
        yield bar


class Lines:
    """A line of progress every few seconds: something quick says nothing at all."""

    def __init__(self, tell: Callable[[str], None], *, now: Callable[[], float] = SYSTEM.monotonic) -> None:
        self._tell = tell
        self._now = now
        self._last = now()

    def step(self, what: str, done: int, total: int) -> None:
        """Say it when it is time to."""
        now = self._now()
        if now - self._last >= EVERY:
            self._last = now
            self._tell(f"{what}: {done:,} of {total:,}" if total else what)


class Bar:
    """A progress bar that is gone when the work is done."""

    def __init__(self) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Shown
        except ModuleNotFoundError as error:
            raise MissingExtra("Reading a repository", "check") from error
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        # drawn when there is something new, and by no thread: the reader makes processes of this one
        self._shown = Shown(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._drawn = 0.0
        self._what = "reading"
        self._task = self._shown.add_task(self._what, total=None)

    def __enter__(self) -> Bar:
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.stop()

    def step(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        if what != self._what:
            # a new one: a bar that has had a total cannot do without one again
            self._shown.remove_task(self._task)
            self._what, self._task = what, self._shown.add_task(what, total=total or None)
            self._drawn = 0.0
        self._shown.update(self._task, completed=done)
        now = SYSTEM.monotonic()
        if now - self._drawn >= DRAWN_EVERY:
            self._drawn = now
            self._shown.refresh()


def _given(manifests: Any) -> tuple[tuple[str, bytes], ...]:
    if manifests is None:
        return ()
    content: bytes = manifests.read(MAX_MANIFESTS + 1)
    if len(content) > MAX_MANIFESTS:
        raise ConfigurationError(f"--manifests has more than {MAX_MANIFESTS // (1024 * 1024)} MiB")
    name = getattr(manifests, "name", "")
    return (("standard input" if name in {"<stdin>", "-", ""} else Path(str(name)).name, content),)
