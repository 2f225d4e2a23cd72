"""`skerry events`: freeze the schemas of events, see whether a change breaks a reader, export them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from skerry.cli import options
from skerry.errors import ConfigurationError, MissingExtra
from skerry.events import schemas
from skerry.events.schemas import MODES, Compatibility, ServiceEvents
from skerry.topology import FILE_NAME, System, find, load

MISUSED = 2
"""The exit status when nothing could be compared, so that 1 always means: a change breaks somebody."""


class Commands(click.Group):
    """A group in which a wrong file, module or revision is exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(MISUSED)


def _which_events(command: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        click.option(
            "--file",
            type=click.Path(path_type=Path),
            help=f"The system file. [default: {FILE_NAME} here or further up]",
        ),
        click.option(
            "--module", "modules", multiple=True, metavar="NAME", help="A module of events, instead of the services."
        ),
        click.option(
            "--timeout",
            type=options.Number(0.1, 600),
            default=30.0,
            show_default=True,
            help="Seconds to import one service.",
        ),
        click.option(
            "--compatibility",
            type=click.Choice(MODES),
            help="What a new version promises. [default: what its file says, else full]",
        ),
        options.output,
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@click.group(cls=Commands)
def events() -> None:
    """Keep the schemas of events in the repository, and see what a change of one breaks.

    Exit status 0: fine; 1: a change breaks somebody; 2: it could not be found out.

    Each command takes -o [text|json]; asyncapi takes -o [json|yaml].
    """


@events.command(short_help="Write the schemas of new events and versions.")
@_which_events
def freeze(
    file: Path | None, modules: tuple[str, ...], timeout: float, compatibility: Compatibility | None, output: str
) -> None:
    """Write the schema of every event that the services publish to schemas/TYPE/VERSION.json.

    A version that is frozen never gets another schema: raise the event's version instead.
    """
    folder, system = _where(file, modules)
    services = _declared(folder, system, modules, timeout)
    published = [event.schema for each in services for event in each.publishes]
    done = schemas.freeze(folder, published, compatibility=compatibility)
    if output == "json":
        click.echo(json.dumps({"new": done.new, "refreshed": done.refreshed, "unchanged": done.unchanged}))
        return
    for path in done.new:
        click.echo(f"froze {path}")
    for path in done.refreshed:
        click.echo(f"renewed the texts of {path}")
    total = len(done.new) + len(done.refreshed) + len(done.unchanged)
    name = system.name if system else folder.name
    click.echo(f"{name}: {_count(total, 'version')} of events frozen, {len(done.new)} of them new")


@events.command(short_help="See whether a change breaks a reader.")
@click.option("--against", metavar="REV", help="The git revision to compare with: a branch, tag or commit.")
@_which_events
def check(
    against: str | None,
    file: Path | None,
    modules: tuple[str, ...],
    timeout: float,
    compatibility: Compatibility | None,
    output: str,
) -> None:
    """Compare the events of the code with the frozen schemas, and those with the ones at a git revision.

    One line for each thing that breaks somebody: where, what, whom, and what to do.
    """
    folder, system = _where(file, modules)
    frozen = schemas.read(folder)
    before = schemas.read_at(folder, against) if against is not None else None
    services = _declared(folder, system, modules, timeout)
    found = schemas.check(services, frozen, before=before, compatibility=compatibility)
    if output == "json":
        body = {"ok": not found, "against": against, "findings": [each.as_json() for each in found]}
        click.echo(json.dumps(body, indent=2))
    else:
        for each in found:
            click.echo(str(each))
        name = system.name if system else folder.name
        compared = f" with {against}" if against is not None else ""
        versions = _count(sum(map(len, frozen.values())), "frozen version")
        readers = _count(sum(len(each.reads) for each in services), "reader")
        verdict = f"{_count(len(found), 'finding')}" if found else "all is compatible"
        click.echo(f"{name}: compared {versions} and {readers}{compared}: {verdict}")
    sys.exit(1 if found else 0)


@events.command(short_help="Print the system's events as AsyncAPI 3.0.")
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option(
    "--document-version", default="1.0.0", show_default=True, metavar="TEXT", help="The version of the document itself."
)
@click.option(
    "-o", "output", type=click.Choice(["json", "yaml"]), default="json", show_default=True, help="The output format."
)
def asyncapi(file: Path | None, document_version: str, output: str) -> None:
    """Print the frozen events of the system, who publishes and who reads them, as AsyncAPI 3.0."""
    system = _system(file)
    document = schemas.export(system, schemas.read(system.folder), version=document_version)
    if output == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtra("YAML", "service") from error
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), nl=False)


def _system(file: Path | None) -> System:
    if found := file or find(Path.cwd()):
        return load(found)
    raise ConfigurationError(f"there is no {FILE_NAME} in this folder or above it: name one with --file")


def _where(file: Path | None, modules: Sequence[str]) -> tuple[Path, System | None]:
    """The folder of the schemas and the system in it; with modules there need not be one."""
    found = file or find(Path.cwd())
    if modules and found is None:
        return Path.cwd(), None
    system = _system(found)
    return system.folder, system


def _declared(folder: Path, system: System | None, modules: Sequence[str], timeout: float) -> list[ServiceEvents]:
    """What the code declares; progress is told on standard error."""
    if modules or system is None:
        click.echo(f"importing {', '.join(modules)}", err=True)
        owners = {name: topic.owner for name, topic in system.topics.items()} if system else {}
        return schemas.discover_modules(folder, modules, owners=owners, timeout=timeout)
    count = sum(1 for each in system.services.values() if each.publishes or each.subscribes)
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        click.echo(f"{what} ({done} of {count})", err=True)

    click.echo(f"importing {_count(count, 'service')} of {system.name}", err=True)
    return schemas.discover(system, timeout=timeout, tell=tell)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
