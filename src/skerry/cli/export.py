"""`skerry export`: a system as Compose or Kubernetes run it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from skerry.cli import options
from skerry.topology import FILE_NAME, load

F = TypeVar("F", bound=Callable[..., Any])
_PATH: Final = click.Path(path_type=Path)


def _named(pattern: str, rule: str) -> Callable[[click.Context, click.Parameter, str], str]:
    """A check of an option's value."""

    def checked(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise click.BadParameter(rule)
        return value

    return checked


_tag: Final = _named(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a tag has letters, digits, dots, dashes and underscores, at most 128"
)
_registry: Final = _named(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)?",
    "a registry is HOST or HOST:PORT, with a path in lower case or without, and no / at its end",
)
_gateway_class: Final = _named(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)?",
    "a class has lower-case letters, digits, hyphens and dots",
)


def _exported(command: F) -> F:
    """Options of every platform."""
    found: Any = command
    for option in (
        options.output,
        click.option("--tag", default="0.1.0", show_default=True, callback=_tag, help="The tag of the images."),
        click.option("--out", type=_PATH, default=Path("deploy"), show_default=True, help="The folder to write to."),
        click.option("--file", type=_PATH, help=f"The system file. [default: {FILE_NAME} here or further up]"),
    ):
        found = option(found)
    return found  # type: ignore[no-any-return]


@click.group()
def export() -> None:
    """Write what others need to run a system: images, manifests, and passwords that stay out of them.

    Every service gets a PostgreSQL of its own, and events go through NATS; a system file that names MongoDB or another broker is
    refused. Nothing is built or applied.

    Each command takes -o [text|json].
    """


@export.command()
@_exported
def compose(file: Path | None, out: Path, tag: str, output: str) -> None:
    """Write a Compose file and a Dockerfile for each process.

    Then: docker compose --file deploy/compose.yaml up --build
    """
    from skerry.deploy import export as exporting

    plan = exporting.plan_of(load(file or options.system_file("")))
    place = exporting.compose.Place.of(out.resolve(), plan.system.folder)
    _tell(exporting.write(out, exporting.compose.files(plan, place, tag=tag), plan), output)


@export.command()
@click.option("--registry", default="", callback=_registry, help="Where the images are, before their names.")
@click.option(
    "--gateway-class",
    default="",
    callback=_gateway_class,
    help="Of the cluster's own gateway: then a Gateway leads to ours.",
)
@_exported
def kubernetes(file: Path | None, out: Path, tag: str, output: str, registry: str, gateway_class: str) -> None:
    """Write manifests with a kustomization, and a Dockerfile for each process.

    Then: kubectl apply -k deploy
    """
    from skerry.deploy import export as exporting

    plan = exporting.plan_of(load(file or options.system_file("")))
    made = exporting.kubernetes.files(plan, tag=tag, registry=registry, gateway_class=gateway_class)
    _tell(exporting.write(out, made, plan), output)


@export.command()
@click.option(
    "--registry", default="", callback=_registry, help="Where the images are, before their names: a value of the chart."
)
@click.option(
    "--gateway-class", default="", callback=_gateway_class, help="Of the cluster's own gateway: a value of the chart."
)
@_exported
def helm(file: Path | None, out: Path, tag: str, output: str, registry: str, gateway_class: str) -> None:
    """Write a chart of the same manifests, and a Dockerfile for each process.

    Then: helm install shop deploy/chart
    """
    from skerry.deploy import export as exporting

    plan = exporting.plan_of(load(file or options.system_file("")))
    made = exporting.helm.files(plan, tag=tag, registry=registry, gateway_class=gateway_class)
    _tell(exporting.write(out, made, plan), output, exporting.helm.others(out, made))


@export.command()
@click.option("--out", type=_PATH, default=Path("deploy"), show_default=True, help="The folder to write to.")
@options.output
def grafana(out: Path, output: str) -> None:
    """Write a board for Grafana of all metrics that services show with SKERRY_METRICS=prometheus.

    Import deploy/dashboards/skerry.json, or mount both folders.
    """
    from skerry.deploy import export as exporting

    _tell(exporting.write(out, exporting.grafana.files(), None), output)


def _tell(written: Any, output: str, others: Sequence[Path] = ()) -> None:
    if output == "json":
        found = {"files": [str(path) for path in written.files], "secrets": [str(path) for path in written.secrets]}
        found |= {"others": [str(path) for path in others]} if others else {}
        click.echo(json.dumps(found))
        return
    click.echo(f"{len(written.files)} files written")
    for path in written.secrets:
        click.echo(f"new passwords in {path}: keep them, and out of any repository")
    for path in others:
        click.echo(f"{path} is none of them, and Helm would install it: remove it, unless it is yours")
