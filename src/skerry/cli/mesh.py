"""`skerry mesh`: who is who between the services of a running system, and their certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from skerry.cli import options
from skerry.clock import SYSTEM
from skerry.deploy import MESHES, ask, development_authority
from skerry.deploy.policies import TRUST_DOMAIN
from skerry.envoy.mesh import LEAF_LIFETIME, write_folder
from skerry.errors import MissingExtra
from skerry.topology import FILE_NAME, GATEWAY, load

COLUMNS = ("service", "identity", "callers", "expires", "version", "state")
PATIENCE = 60.0
"""Seconds for all sidecars to take new certificates, three times for an authority."""


@click.group()
def mesh() -> None:
    """Show and renew what proves who is who in a system that was started with `skerry run --mesh`.

    Each command takes -o [text|json].
    """


@mesh.command()
@options.which_system
@options.output
def status(data: Path | None, file: Path | None, output: str) -> None:
    """Show each sidecar: its identity, who may call it, when its certificate expires, and whether it has what it was given."""
    _show(ask(Path(options.running_system(data, file).socket), "mesh"), output)


@mesh.command()
@click.argument("name", required=False, default="")
@click.option("--authority", is_flag=True, help="Replace the authority, and with it the certificates of all.")
@options.which_system
@options.output
def rotate(name: str, data: Path | None, file: Path | None, output: str, *, authority: bool) -> None:
    """Give the service NAME, or all, a new certificate now. No request is lost; it returns when the sidecars have it."""
    if authority and name:
        raise click.UsageError("an authority is everybody's: leave out the name")
    op = "replace-authority" if authority else "renew"
    _show(ask(Path(options.running_system(data, file).socket), op, name, timeout=PATIENCE), output)


@mesh.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("var"),
    show_default=True,
    help="The data folder, whose development authority signs.",
)
@options.certificate_lifetime
@options.output
def certificates(out: Path, file: Path | None, data: Path, lifetime: float | None, output: str) -> None:
    """Write a certificate and key for each service, and ca.crt: what `skerry run --mesh --certificates` takes.

    The authority's own key stays in the data folder.
    """
    system = load(file or options.system_file(""))
    authority = development_authority(data, system, lifetime=lifetime or LEAF_LIFETIME, clock=SYSTEM)
    names = [*system.services, *([GATEWAY] if system.gateway else [])]
    written = write_folder(out, authority, names)
    if output == "json":
        click.echo(json.dumps({"folder": str(out), "files": [path.name for path in written]}))
        return
    click.echo(f"{len(names)} certificates with their keys, and ca.crt, are in {out}")


@mesh.command()
@click.argument("other", type=click.Choice(list(MESHES)))
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option("--namespace", help="Of Kubernetes. [default: the system's name]")
@click.option("--trust-domain", default=TRUST_DOMAIN, show_default=True, help="Of Istio.")
@options.output
def export(other: str, file: Path | None, namespace: str | None, trust_domain: str, output: str) -> None:
    """Print who may call whom as manifests for another mesh: istio or linkerd.

    They go with what `skerry export kubernetes` writes: its labels, service accounts and ports.
    """
    system = load(file or options.system_file(""))
    made = MESHES[other](system, namespace=namespace or system.name, trust_domain=trust_domain)
    if output == "json":
        click.echo(json.dumps(made, indent=2))
        return
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("Writing YAML", "service") from error
    click.echo(yaml.safe_dump_all(made, sort_keys=False, explicit_start=True, width=120), nl=False)


def _show(reply: dict[str, Any], output: str) -> None:
    sidecars = reply["sidecars"]
    if output == "json":
        click.echo(json.dumps(sidecars, indent=2))
        return
    behind = [one["service"] for one in sidecars if not one["acknowledged"]]
    told = "all have what they were given" if not behind else f"not up to date: {', '.join(behind)}"
    click.echo(f"{reply['system']}: {len(sidecars)} sidecars, {told}\n")
    click.echo(table(sidecars))


def table(sidecars: list[dict[str, Any]]) -> str:
    """The sidecars in columns, each as wide as its widest entry."""
    rows = [[column.upper() for column in COLUMNS]]
    for one in sidecars:
        callers = ", ".join(one["callers"]) or "nobody"
        state = "up to date" if one["acknowledged"] else "waits"
        row = (one["service"], one["identity"], callers, _in_words(one["remaining"]), str(one["version"]), state)
        rows.append(list(row))
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _in_words(seconds: float) -> str:
    if seconds <= 0:
        return "expired"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"in {seconds / size:.0f} {unit}"
    return f"in {seconds:.0f} s"
