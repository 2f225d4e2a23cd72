"""`skerry simulate`: every way to leave a saga half done, tried."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli import options
from skerry.cli.text import columns, count
from skerry.clock import SYSTEM
from skerry.errors import ConfigurationError
from skerry.saga import Saga
from skerry.settings import variable_for
from skerry.testing.sagas import WINDOWS, Budget, Report, Simulation
from skerry.topology import find, load
from skerry.topology.inquiry import NOWHERE

BESIDE: Final = "simulation"
"""The module beside a saga's in which its simulation is looked for."""
_MOST: Final = Budget()


@click.command()
@click.argument("saga", metavar="MODULE:SAGA")
@click.option(
    "--crashes", type=click.IntRange(0, 5), default=_MOST.crashes, show_default=True, help="At most together."
)
@click.option("--faults", type=click.IntRange(0, 5), default=_MOST.faults, show_default=True, help="At most together.")
@click.option(
    "--preemptions", type=click.IntRange(0, 2), default=_MOST.preemptions, show_default=True, help="At most together."
)
@click.option("--runs", type=click.IntRange(1), default=_MOST.runs, show_default=True, help="Stop after so many.")
@click.option("--replay", default="", metavar="INCIDENTS", help="Only this execution, such as '3:lost 7:crash'.")
@options.output
def simulate(saga: str, crashes: int, faults: int, preemptions: int, runs: int, replay: str, output: str) -> None:
    """Try every way in which a saga can be left half done.

    SAGA is a `Simulation`, or a `Saga` with one in the module `simulation` beside its own. Exit status 1 when there is a way.
    """
    budget = Budget(crashes=crashes, faults=faults, preemptions=preemptions, runs=runs)
    found = _found(saga)
    simulation = Simulation(found.saga, found.input, found.world, found.invariant, found.local, found.signals, budget)
    if replay:
        report = simulation.replay(replay)
    else:
        with _telling() as tell:
            report = simulation.explore(progress=tell)
    if output == "json":
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        click.echo(_as_text(report, replayed=bool(replay)))
    sys.exit(1 if report.violations else 0)


@contextmanager
def _telling() -> Iterator[Callable[[int, int], None]]:
    """How far it is, on standard error: a line that grows, or one line after the other where nobody watches."""
    watched = sys.stderr.isatty()
    told = SYSTEM.monotonic()

    def tell(runs: int, states: int) -> None:
        nonlocal told
        if SYSTEM.monotonic() - told >= (0.2 if watched else 10.0):
            told = SYSTEM.monotonic()
            text = f"tried {count(runs, 'execution')}, met {count(states, 'state')}"
            click.echo(f"\r{text}" if watched else text, nl=not watched, err=True)

    yield tell
    if watched:
        click.echo("\r\x1b[K", nl=False, err=True)


def _found(text: str) -> Simulation[Any]:
    """The simulation that MODULE:SAGA stands for."""
    module_name, _, name = text.partition(":")
    if not module_name or not name.isidentifier():
        raise ConfigurationError(f"{text[:80]!r} is not MODULE:SAGA, such as order.saga:fulfilment")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with _addresses(module_name):
        found = getattr(_imported(module_name), name, None)
        if isinstance(found, Simulation):
            return found
        if not isinstance(found, Saga):
            raise ConfigurationError(f"{text!r} is {'nothing' if found is None else 'no Saga and no Simulation'}")
        beside = f"{module_name.rpartition('.')[0]}.{BESIDE}".lstrip(".")
        simulations = vars(_imported(beside)).values()
    for each in simulations:
        if isinstance(each, Simulation) and each.saga is found:
            return each
    raise ConfigurationError(f"the module {beside!r} has no Simulation of {text!r}")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"there is no module {name!r} here") from error
        raise


@contextmanager
def _addresses(module_name: str) -> Iterator[None]:
    """While a service's module is imported the others have an address, at which nobody is asked."""
    try:
        spec = importlib.util.find_spec(module_name)
    except ModuleNotFoundError:
        spec = None
    file = find(Path(spec.origin).parent) if spec is not None and spec.origin is not None else None
    given = {} if file is None else {variable_for(name): NOWHERE for name in load(file).services}
    new = {name: value for name, value in given.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "runs": report.runs,
        "states": report.states,
        "completed": report.completed,
        "compensated": report.compensated,
        "exhaustive": report.exhaustive,
        "windows": sorted(report.windows),
        "missing_windows": sorted(report.missing_windows),
        "violations": [asdict(violation) for violation in report.violations],
    }


def _as_text(report: Report, *, replayed: bool) -> str:
    if report.violations:
        found = "\n\n".join(str(violation) for violation in report.violations)
        return f"there is a way to leave it half done: {found}"
    if replayed:
        return "nothing is left half done in this execution"
    rows = [
        (number, "met" if number in report.windows else "not met", what)
        for number, what in WINDOWS.items()
        if number in report.windows | report.missing_windows
    ]
    tried = f"{count(report.runs, 'execution')}, {count(report.states, 'state')}"
    ends = (
        f"{report.completed} were completed, {report.compensated} compensated, the others led where one had been before"
    )
    end = "every one within the budget" if report.exhaustive else "truncated: give it more --runs"
    return f"nothing is left half done in {tried}: {end}\n{ends}\n\n{columns(('window', '', 'what'), rows)}"
