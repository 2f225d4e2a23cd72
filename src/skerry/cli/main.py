"""The command `skerry`. Only click is imported here, so that `skerry --help` is quick; each verb is loaded when it is used."""

from __future__ import annotations

import errno
import importlib
from typing import Any

import click

from skerry import __version__
from skerry.errors import SkerryError

VERBS = {
    "demo": "Run the example shop and see it survive.",
    "new": "Make a system or a service from a template, or update one.",
    "run": "Run the system of this folder until Ctrl-C.",
    "gateway": "Check, run and export what a gateway serves.",
    "mesh": "Show and renew who is who between services.",
    "strangle": "Lead a route from one service to another, on evidence.",
    "console": "Show a running system live, in a browser.",
    "ps": "Show the processes of a running system.",
    "logs": "Show what the processes of a system wrote.",
    "trace": "List the traces of a running system, or show one.",
    "config": "Show what a system is made of, and what its processes are told.",
    "doctor": "Say whether this machine has what a system needs.",
    "hold": "Kill a process and keep it down.",
    "release": "Let a held process start again.",
    "stop": "Stop a running system.",
    "export": "Write what Compose or Kubernetes need to run a system.",
    "db": "Give services databases of their own, and migrate them.",
    "dead": "List, replay or drop what services could not handle.",
    "saga": "List sagas, and settle those that are stuck.",
    "simulate": "Try every way in which a saga can be left half done.",
    "outbox": "Show what waits to be handed over.",
    "projection": "List projections, and have one made anew.",
    "events": "Freeze, compare and export the schemas of events.",
    "check": "Say which of eight faults a system of services has, with the evidence.",
    "explain": "Tell all about a rule or a finding of check.",
    "map": "Show services, databases and who reaches whom.",
    "split": "Propose services for a monolith, and judge them by later commits.",
    "decide": "Say whether to split a monolith, with the evidence as a record.",
    "guard": "Write contracts that keep the boundary of a split.",
}
"""Every verb with its line in `skerry --help`. The verb `x` is the command `x` in the module `skerry.cli.x`."""

_UNNAMED = {errno.ENOENT: "the current folder", errno.ENOSPC: "what is written"}
"""What the system refused where it does not name it."""


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is used.

    What it raises is one line: a `SkerryError`, and what a file or folder refused.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        from skerry.cli.examples import illustrate

        command: click.Command = getattr(importlib.import_module(f"skerry.cli.{cmd_name}"), cmd_name)
        return illustrate(cmd_name, command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SkerryError as error:
            text = str(error)
        except OSError as error:
            what = error.filename or _UNNAMED.get(error.errno or 0)
            if what is None:
                raise  # nobody could tell what it is about
            text = f"{what}: {error.strerror}"
        click.echo(f"error: {text}", err=True)
        raise click.exceptions.Exit(1)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: skerry demo")
@click.version_option(__version__, prog_name="skerry", message="%(prog)s %(version)s")
def main() -> None:
    """Systems of services that survive each other."""
