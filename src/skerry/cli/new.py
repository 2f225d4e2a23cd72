"""`skerry new`: a system or a service from a template, and what has changed in the templates since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from skerry.cli import options
from skerry.topology import FILE_NAME

if TYPE_CHECKING:
    from skerry.deploy.templates import Made

F = TypeVar("F", bound=Callable[..., Any])
CONFLICTS: Final = 3
"""The exit status of an update that left conflicts."""


def _answered(command: F) -> F:
    """Options of what is made from answers."""
    found: Any = command
    for option in (
        options.output,
        click.option("--data", multiple=True, metavar="NAME=VALUE", help="The answer to a question; may be repeated."),
        click.option("--defaults", is_flag=True, help="Ask nothing: what is not in --data is as the template says."),
    ):
        found = option(found)
    return found  # type: ignore[no-any-return]


@click.group(
    invoke_without_command=True,
    epilog="Example: skerry new system demo --defaults && cd demo && make test && skerry run",
)
@click.option("--update", "updating", is_flag=True, help="Bring what has changed in the templates into this system.")
@click.option("--file", type=click.Path(path_type=Path), help="With --update: the system file, beside its records.")
@options.output
@click.pass_context
def new(ctx: click.Context, file: Path | None, output: str, *, updating: bool) -> None:
    """Make a system or a service that runs and passes its tests at once."""
    if ctx.invoked_subcommand is not None:
        if updating:
            raise click.UsageError("--update is for a system that is there: it goes without a command")
        if file or output != "text":
            raise click.UsageError(f"--file and -o go behind {ctx.invoked_subcommand}, not before it")
        return
    if not updating:
        raise click.UsageError("say what to make: system or service; or --update")
    from skerry.deploy import templates

    done = templates.update((file or options.system_file("")).parent)
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "folder": str(done.folder),
                    "to": done.to,
                    "changed": [str(path) for path in done.changed],
                    "conflicts": [str(path) for path in done.conflicts],
                }
            )
        )
    elif not done.to:
        click.echo("nothing has changed in the templates")
    else:
        click.echo(f"{len(done.changed)} file{'s' if len(done.changed) != 1 else ''} changed: see `git diff`")
        for path in done.conflicts:
            click.echo(f"conflict in {path}: both sides changed the same lines, settle it between the markers")
    ctx.exit(CONFLICTS if done.conflicts else 0)


@new.command(epilog="Example: skerry new system demo --defaults")
@click.argument("name")
@_answered
def system(name: str, data: tuple[str, ...], output: str, *, defaults: bool) -> None:
    """Make a system in the new folder NAME, with one service, its database, an event and tests.

    Questions: description, service (the name of the first), port.
    """
    from skerry.deploy import templates

    given = templates.read_data(data, _asked(templates.questions(templates.SYSTEM), "name"))
    made = templates.new_system(Path.cwd(), name, given, defaults=defaults)
    _tell(made, output, f"{name} is made: cd {name} && make test && skerry run")


@new.command(epilog="Example: skerry new service stock --defaults --data route=/api/stock")
@click.argument("name")
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@_answered
def service(name: str, file: Path | None, data: tuple[str, ...], output: str, *, defaults: bool) -> None:
    """Add a service to the system of this folder: its code, its tests, its tables in the system file.

    Questions: description, route (its path at the gateway; none, unless answered).
    """
    from skerry.deploy import templates

    given = templates.read_data(data, _asked(templates.questions(templates.SERVICE), "name", "system"))
    made = templates.new_service(file or options.system_file(""), name, given, defaults=defaults)
    _tell(made, output, f"{name} is added: `make test`, and start `skerry run` anew")


def _asked(questions: tuple[str, ...], *known: str) -> list[str]:
    return [name for name in questions if name not in known]


def _tell(made: Made, output: str, then: str) -> None:
    if output == "json":
        found = {
            "folder": str(made.folder),
            "files": [str(path) for path in made.files],
            "changed": [str(path) for path in made.changed],
        }
        click.echo(json.dumps(found))
        return
    for path in made.files:
        click.echo(f"  new      {path}")
    for path in made.changed:
        click.echo(f"  changed  {path}")
    click.echo(then)
