"""`skerry trace`: the requests that a system's console has seen, and one of them step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import click

from skerry.cli import options
from skerry.cli.text import columns, plain
from skerry.cli.watching import told
from skerry.deploy import ask
from skerry.errors import DeployError

MOST: Final = 500
"""Traces that a console tells at once."""
BAR: Final = 32
"""Characters that the whole of a trace is wide."""
DEEPEST: Final = 16
"""Levels that are drawn further in; what is deeper stands below each other."""
_ID: Final = re.compile(r"[0-9a-f]{32}")


def _id(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _ID.fullmatch(value):
        raise click.BadParameter("a trace is named by 32 hexadecimal digits")
    return value


@click.command(epilog="Example: skerry trace --errors --service order")
@click.argument("trace", required=False, callback=_id)
@options.which_system
@click.option("--service", default="", help="Only those that it took part in.")
@click.option("--errors", is_flag=True, help="Only those in which something failed.")
@click.option("--slow", is_flag=True, help="Only those that took a second or longer.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True, help="At most so many traces.")
@options.output
def trace(
    trace: str | None,
    data: Path | None,
    file: Path | None,
    service: str,
    limit: int,
    output: str,
    *,
    errors: bool,
    slow: bool,
) -> None:
    """List the traces of the last fifteen minutes, newest first; or show TRACE, each step where it stands in time.

    Needs a system that runs with its console: `skerry run --console`.
    """
    entry = options.running_system(data, file)
    processes = ask(Path(entry.socket), "ps")["processes"]
    wanted = {"service": service, "errors": "1" if errors else "", "slow": "1" if slow else "", "limit": str(limit)}
    query = urlencode({name: value for name, value in wanted.items() if value})
    found = told(Path(entry.data), processes, f"/api/traces/{trace}" if trace else f"/api/traces?{query}")
    if found is None and trace is not None and told(Path(entry.data), processes, "/api/view") is not None:
        raise DeployError(
            f"the console of {entry.name} knows no trace {trace}: it keeps those of the last fifteen minutes"
        )
    if found is None:
        raise DeployError(f"no console answers for {entry.name}: start the system with `skerry run --console`")
    if output == "json":
        click.echo(json.dumps(found))
    elif trace:
        click.echo("\n".join(waterfall(found["spans"])))
    else:
        rows = [
            (
                each["id"],
                _moment(each["at"]),
                each["service"],
                each["name"],
                _ms(each["seconds"]),
                each["spans"],
                each["errors"],
            )
            for each in found
        ]
        click.echo(columns(("trace", "at", "service", "name", "took", "steps", "errors"), rows))


def waterfall(spans: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each step: when in the whole it was, whose it was, what, how long, and what went wrong."""
    if not spans:
        return []
    begin = min(span["at"] for span in spans)
    whole = max(max(span["at"] + span["seconds"] for span in spans) - begin, 1e-9)
    lines: list[str] = []
    for depth, span in _in_order(spans):
        first = min(BAR - 1, int((span["at"] - begin) / whole * BAR))
        length = max(1, min(BAR - first, round(span["seconds"] / whole * BAR)))
        bar = (" " * first + ("x" if span["error"] else "=") * length).ljust(BAR)
        text = f"|{bar}| {'  ' * min(depth, DEEPEST)}{span['service']}: {span['name']}  {_ms(span['seconds'])}"
        lines.append(plain(f"{text}  FAILED: {span['error']}" if span["error"] else text).replace("\n", " "))
    return lines


def _in_order(spans: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each after the one that it belongs to, by time; what belongs to one that is not there begins anew. Each comes once."""
    known = {span["id"] for span in spans}
    below: dict[Any, list[Mapping[str, Any]]] = {}
    for span in sorted(spans, key=lambda span: -span["at"]):
        parent = span["parent"] if span["parent"] in known and span["parent"] != span["id"] else None
        below.setdefault(parent, []).append(span)
    left = [(0, span) for span in below.pop(None, [])]
    while left or below:
        if not left:  # those that belong to each other in a circle, which no honest program sends
            left = [(0, span) for span in below.pop(next(iter(below)))]
        depth, span = left.pop()
        yield depth, span
        left += [(depth + 1, child) for child in below.pop(span["id"], [])]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
