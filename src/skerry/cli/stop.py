"""`skerry stop`: stop a running system."""

from __future__ import annotations

import json
from pathlib import Path

import click

from skerry.cli import options
from skerry.clock import SYSTEM
from skerry.deploy import ask, is_known
from skerry.errors import DeployError

POLL = 0.05
LEAST = 1.0
"""Seconds to be told, also for who does not wait for the end."""


@click.command()
@options.which_system
@options.output
@click.option(
    "--timeout", type=options.Number(0, 3600), default=60.0, show_default=True, help="Seconds to wait for its end."
)
def stop(data: Path | None, file: Path | None, output: str, timeout: float) -> None:
    """Stop a running system; returns when its processes have ended."""
    entry = options.running_system(data, file)
    end = SYSTEM.monotonic() + timeout
    ask(Path(entry.socket), "stop", timeout=max(timeout, LEAST))
    while is_known(entry):
        if SYSTEM.monotonic() > end:
            raise DeployError(
                f"{entry.name} is still stopping after {timeout:g} s (its supervisor is process {entry.pid})"
            )
        SYSTEM.sleep_sync(POLL)
    click.echo(json.dumps({"name": entry.name, "state": "stopped"}) if output == "json" else f"{entry.name} is stopped")
