"""An example for each command, shown below its help. They are written for the shop; a test runs them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import click

EXAMPLES: Final[Mapping[str, str]] = {
    "demo": "skerry demo --orders 50",
    "run": "skerry run --reload",
    "gateway check": "skerry gateway check gateway.yaml",
    "gateway run": "skerry gateway run gateway.yaml --watch",
    "gateway export": "skerry gateway export gateway.yaml --allow-loss",
    "gateway schema": "skerry gateway schema",
    "mesh status": "skerry mesh status",
    "mesh rotate": "skerry mesh rotate payment",
    "mesh certificates": "skerry mesh certificates --out certificates",
    "mesh export": "skerry mesh export istio",
    "strangle plan": "skerry strangle plan gateway.yaml products --rate 100",
    "strangle start": "skerry strangle start products",
    "strangle status": "skerry strangle status products",
    "strangle step": "skerry strangle step products --to 5",
    "strangle hold": "skerry strangle hold products",
    "strangle resume": "skerry strangle resume products",
    "strangle rollback": "skerry strangle rollback products --reason 'wrong prices'",
    "strangle handover": "skerry strangle handover orders",
    "strangle handback": "skerry strangle handback orders",
    "strangle report": "skerry strangle report products",
    "ps": "skerry ps",
    "hold": "skerry hold payment",
    "release": "skerry release payment",
    "stop": "skerry stop",
    "export compose": "skerry export compose --out deploy",
    "export kubernetes": "skerry export kubernetes --out deploy",
    "export helm": "skerry export helm --out deploy",
    "export grafana": "skerry export grafana --out deploy",
    "db migrate": "skerry db migrate order",
    "db status": "skerry db status",
    "db create": "skerry db create --url postgresql://postgres@127.0.0.1/postgres",
    "dead list": "skerry dead list --service notification",
    "dead show": "skerry dead show notification 7",
    "dead replay": "skerry dead replay notification 7",
    "dead drop": "skerry dead drop notification 7",
    "saga list": "skerry saga list --status stuck",
    "saga stats": "skerry saga stats",
    "saga show": "skerry saga show order ORDER-ID",
    "saga signal": "skerry saga signal order ORDER-ID approved",
    "saga retry": "skerry saga retry order ORDER-ID",
    "saga skip": "skerry saga skip order ORDER-ID --step charge",
    "saga cancel": "skerry saga cancel order ORDER-ID",
    "saga resolve": "skerry saga resolve order ORDER-ID --as completed",
    "simulate": "skerry simulate order.saga:fulfilment --runs 200",
    "outbox": "skerry outbox",
    "projection list": "skerry projection list",
    "projection rebuild": "skerry projection rebuild order history",
    "projection drop": "skerry projection drop order history --version 1 --yes",
    "events freeze": "skerry events freeze",
    "events check": "skerry events check",
    "events asyncapi": "skerry events asyncapi -o yaml",
    "check": "skerry check .",
    "explain": "skerry explain no-timeout",
    "map": "skerry map -o mermaid",
    "split": "skerry split . --services 4..8",
    "decide": "skerry decide .",
    "guard": "skerry guard . --tach",
}
"""By what is typed behind `skerry`. Those that are missing here have one where they are defined."""


def illustrate(verb: str, command: click.Command) -> click.Command:
    """The command, with an example at the end of its help and of the help of all that is below it; a group has its first one."""
    for name, part in below(verb, command):
        found = (example for typed, example in EXAMPLES.items() if f"{typed} ".startswith(f"{name} "))
        if example := next(found, ""):
            part.epilog = f"Example: {example}"
    return command


def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command and all commands and groups in it, each with what is typed for it behind `skerry`."""
    yield name, command
    for part, each in command.commands.items() if isinstance(command, click.Group) else ():
        yield from below(f"{name} {part}", each)
