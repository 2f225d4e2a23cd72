"""`skerry strangle`: lead a route from one service to another, and see how it fares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from skerry.cli import options
from skerry.cli.text import columns, plain, write
from skerry.clock import SYSTEM
from skerry.errors import ConfigurationError, DeployError

if TYPE_CHECKING:
    from skerry.gateway.model import Strangle
    from skerry.gateway.strangler.ramp_rows import Ramp
    from skerry.gateway.strangler.ramps import Ramps
    from skerry.gateway.strangler.report import Report, State, Verdict

F = TypeVar("F", bound=Callable[..., Any])
HELD: Final = 3
ROLLED_BACK: Final = 4
LOOK_EVERY: Final = 1.0
SPEC: Final = Path("gateway.yaml")
STATE: Final = Path("var/strangle")
BY_PERSON: Final = "asked for by a person"


def _state(command: F) -> F:
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        default=STATE,
        show_default=True,
        help="The state folder of the gateway.",
    )(command)


def _spec(command: F) -> F:
    return click.option(
        "--spec",
        type=click.Path(dir_okay=False, path_type=Path),
        default=SPEC,
        show_default=True,
        help="The gateway's specification.",
    )(command)


@click.group()
def strangle() -> None:
    """Lead a route from a monolith to a service of its own, on evidence.

    The gateway that serves the route decides by itself when to go on and when to go back. Exit status of status and report: 0
    when it is done or on its way without a doubt, 3 when it waits, 4 when it went back.

    All but plan take --state; all take -o [text|json].
    """


@strangle.command()
@click.argument("spec", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("route")
@click.option("--rate", type=options.Number(0.001, 1e6), default=20.0, show_default=True, help="Requests/s.")
@options.output
def plan(spec: Path, route: str, rate: float, output: str) -> None:
    """Tell the steps of a ramp, and how many requests and how long each takes if nothing fails."""
    from skerry.gateway.strangler.forecast import forecast

    stages = forecast(_plan(spec, route), rate=rate)
    if output == "json":
        total = sum(stage.seconds for stage in stages)
        click.echo(
            json.dumps({"route": route, "rate": rate, "steps": [asdict(each) for each in stages], "seconds": total})
        )
        return
    rows = [
        (f"{each.percent:g} %", f"{each.count:,} {each.unit}", _long(each.seconds), each.decided_by) for each in stages
    ]
    click.echo(columns(("at", "needs", "takes", "for"), rows))
    click.echo(f"\nabout {_long(sum(each.seconds for each in stages))} at {rate:g} requests/s, if nothing fails")
    for each in stages:
        if each.warning:
            click.echo(f"at {each.percent:g} %: {each.warning}")


@strangle.command()
@click.argument("route")
@_spec
@_state
@options.output
def start(route: str, spec: Path, state: Path, output: str) -> None:
    """Begin a ramp: compare answers first where the route has a shadow, else go to the first step."""
    from skerry.gateway.strangler import deciding

    wanted = _plan(spec, route)
    with _ramps(state) as ramps:
        ramps.start(route, wanted, deciding.begun(wanted), at=SYSTEM.now(), reason=BY_PERSON)
        _show(ramps, route, output)


@strangle.command()
@click.argument("route")
@click.option("--to", type=options.Number(0.01, 100), help="Another share than that of the next step, in percent.")
@_state
@options.output
def step(route: str, to: float | None, state: Path, output: str) -> None:
    """Go to the next step without waiting for evidence. What is being counted goes on to count."""
    with _ramps(state) as ramps:
        ramp = _under_way(ramps, route)
        later = [each for each in ramp.plan.steps if each > ramp.place.percent]
        if to is None and not later:
            raise ConfigurationError(
                f"route {route!r} is at {ramp.place.percent:g} % already; there is no further step"
            )
        _move(ramps, ramp, "step", "ramping", later[0] if to is None else to)
        _show(ramps, route, output)


@strangle.command()
@click.argument("route")
@_state
@options.output
def hold(route: str, state: Path, output: str) -> None:
    """Stay at this share until resume. It still goes back by itself when it is worse."""
    with _ramps(state) as ramps:
        ramp = _under_way(ramps, route)
        _move(ramps, ramp, "hold", "held", ramp.place.percent)
        _show(ramps, route, output)


@strangle.command()
@click.argument("route")
@_state
@options.output
def resume(route: str, state: Path, output: str) -> None:
    """Go on with a ramp that was held."""
    with _ramps(state) as ramps:
        ramp = _under_way(ramps, route)
        if ramp.place.state != "held":
            raise ConfigurationError(f"route {route!r} is not held, it is {ramp.place.state}")
        _move(ramps, ramp, "step", "ramping" if ramp.place.percent else "comparing", ramp.place.percent)
        _show(ramps, route, output)


@strangle.command()
@click.argument("route")
@click.option("--reason", default=BY_PERSON, help="What is written down.")
@click.option("--force", is_flag=True, help="Although the candidate owns the writes, which the control has not seen.")
@_state
@options.output
def rollback(route: str, reason: str, state: Path, output: str, *, force: bool) -> None:
    """Send all requests to the control again. Who owns the writes stays as it is: see handback."""
    with _ramps(state) as ramps:
        ramp = _known(ramps, route)
        if ramp.place.owner != "control" and not force:
            raise ConfigurationError(
                f"route {route!r}: the control has not seen what was written since the hand-over, and would answer as if it were "
                "not there: hand the writes back first, or say --force"
            )
        _move(ramps, ramp, "roll_back", "rolled_back", 0.0, reason=reason)
        _show(ramps, route, output)


@strangle.command()
@click.argument("route")
@_spec
@_state
@options.output
def handover(route: str, spec: Path, state: Path, output: str) -> None:
    """Make the new service the owner of the writes: they wait a moment, until it has all that the old one has recorded.

    Reads have to be at 100 %. When it does not get there within a few seconds, all stays as it was; exit status 1.
    """
    _own(route, spec, state, output, back=False)


@strangle.command()
@click.argument("route")
@_spec
@_state
@options.output
def handback(route: str, spec: Path, state: Path, output: str) -> None:
    """Make the old service the owner again, as long as the new one has recorded nothing by itself; else exit status 1."""
    _own(route, spec, state, output, back=True)


@strangle.command()
@click.argument("route", required=False)
@click.option("--watch", is_flag=True, help="Show it again every second until it is done or rolled back.")
@_state
@options.output
@click.pass_context
def status(ctx: click.Context, route: str | None, state: Path, output: str, *, watch: bool) -> None:
    """Show where ramps are: share, requests, errors, evidence against the limit, what they wait for."""
    with _ramps(state) as ramps:
        if route is None:
            _show_all(ramps, output)
            return
        told = _show(ramps, route, output)
        while watch and told.state not in {"done", "rolled_back"}:
            SYSTEM.sleep_sync(LOOK_EVERY)
            if output == "text":
                click.echo("")
            told = _show(ramps, route, output)
    ctx.exit(_exit_status(told))


@strangle.command()
@click.argument("route")
@click.option("--file", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the page of it, as HTML.")
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="The output format.",
)
@_state
@click.pass_context
def report(ctx: click.Context, route: str, out: Path | None, output: str, state: Path) -> None:
    """Tell a ramp from its start on: every decision with the numbers that made it."""
    from skerry.gateway.strangler.reporting import report as made

    with _ramps(state) as ramps:
        told = made(ramps, route)
    if out is not None or output == "html":
        from skerry.gateway.strangler.picture import page

        drawn = page(told)
        if out is not None:
            write(drawn, out)
        if output == "html":
            click.echo(drawn, nl=False)
    if output == "json":
        click.echo(json.dumps(asdict(told)))
    elif output == "text":
        click.echo(_head(told))
        click.echo(_history(told))
    ctx.exit(_exit_status(told))


def _own(route: str, spec: Path, state: Path, output: str, *, back: bool) -> None:
    from skerry.gateway.strangler.asking import Positions
    from skerry.gateway.strangler.handing_over import HandingOver

    wanted = _plan(spec, route)
    with _ramps(state) as ramps, Positions(spec, wanted, running=_running(state)) as positions:
        _known(ramps, route)
        handing = HandingOver(route, wanted, ramps, state, positions.ask)
        if back:
            handing.hand_back()
        else:
            handing.hand_over()
        _show(ramps, route, output)


def _running(state: Path) -> dict[str, str]:
    """Where the services are of the system that runs in the folder above the state; nothing for a gateway by itself."""
    from skerry.deploy import ask, find_running

    try:
        entry = find_running(state.absolute().parent)
    except DeployError:
        return {}
    return {each["name"]: each["url"] for each in ask(Path(entry.socket), "ps")["processes"] if each["url"]}


def _plan(spec: Path, route: str) -> Strangle:
    from skerry.gateway import reading
    from skerry.gateway.strangler.applying import plans

    found = plans(reading.read(spec))
    if route not in found:
        known = ", ".join(found) or "none"
        raise ConfigurationError(f"{spec} strangles no route {route!r}; those it does: {known}")
    return found[route]


def _ramps(folder: Path) -> Ramps:
    from skerry.gateway.strangler.ramps import Ramps

    return Ramps(folder)


def _known(ramps: Ramps, route: str) -> Ramp:
    found = ramps.find(route)
    if found is None:
        raise ConfigurationError(
            f"route {route!r} has no ramp in {ramps.folder}: begin one with `skerry strangle start`"
        )
    return found


def _under_way(ramps: Ramps, route: str) -> Ramp:
    from skerry.gateway.strangler.ramp_rows import COMPARED

    found = _known(ramps, route)
    if found.place.state not in COMPARED:
        raise ConfigurationError(f"route {route!r} is {found.place.state}: begin again with `skerry strangle start`")
    return found


def _move(ramps: Ramps, ramp: Ramp, verdict: Verdict, state: State, percent: float, *, reason: str = BY_PERSON) -> None:
    """From where it was looked at: what somebody else, or the evidence, did meanwhile is not undone unseen."""
    from skerry.gateway.strangler.ramp_rows import Change

    place = replace(ramp.place, state=state, percent=percent)
    ramps.change(ramp, Change(verdict, "person", place, reason, {}), at=SYSTEM.now())


def _show(ramps: Ramps, route: str, output: str) -> Report:
    from skerry.gateway.strangler.reporting import report as made

    told = made(ramps, route)
    if output == "json":
        click.echo(json.dumps(_numbers(ramps, told)))
    else:
        click.echo(_head(told))
        click.echo(_figures(_numbers(ramps, told)))
    return told


def _show_all(ramps: Ramps, output: str) -> None:
    from skerry.gateway.strangler.reporting import report as made

    if output == "json":
        click.echo(json.dumps(statuses(ramps)))
        return
    told = [made(ramps, ramp.route) for ramp in ramps.all()]
    if not told:
        click.echo(f"there are no ramps in {ramps.folder}")
    else:
        rows = [(each.route, each.state, f"{each.percent:g} %", each.owner, each.needs or "-") for each in told]
        click.echo(columns(("route", "state", "share", "owner", "needs"), rows))


def statuses(ramps: Ramps) -> list[dict[str, Any]]:
    """All ramps, as `skerry strangle status -o json` prints them."""
    from skerry.gateway.strangler.reporting import report as made

    return [_numbers(ramps, made(ramps, ramp.route)) for ramp in ramps.all()]


def _numbers(ramps: Ramps, told: Report) -> dict[str, Any]:
    ramp = _known(ramps, told.route)
    found, limit = ramp.evidence, ramp.plan.limit
    last = told.decisions[-1] if told.decisions else None
    return {
        "route": told.route,
        "from": told.control,
        "to": told.candidate,
        "state": told.state,
        "percent": told.percent,
        "steps": told.steps,
        "owner": told.owner,
        "needs": told.needs,
        "note": told.note,
        "left_out": told.left_out,
        "control": asdict(found.control) | {"timed": found.control_timed},
        "candidate": asdict(found.candidate) | {"timed": found.timed},
        "pairs": found.pairs,
        "differing": found.differing,
        "evidence": {test: found.value(test) for test in found.against},
        "limit": limit,
        "mismatches": [asdict(each) for each in told.mismatches],
        "decision": None if last is None else asdict(last),
        "exit": _exit_status(told),
    }


def _head(told: Report) -> str:
    from skerry.gateway.strangler.report import LEFT_OUT

    line = f"{told.route}: {told.state}, {told.percent:g} % to {told.candidate}, the rest to {told.control}"
    line += f"; writes belong to {'nobody for a moment' if told.owner == 'nobody' else getattr(told, told.owner)}"
    lines = [line, *([f"needs {told.needs}"] if told.needs else []), *([f"note: {told.note}"] if told.note else [])]
    left_out = [f"{count:,} {LEFT_OUT[why]}" for why, count in told.left_out.items() if count]
    if left_out:
        lines.append(f"not compared: {'; '.join(left_out)}")
    return plain("\n".join(lines))


def _figures(found: dict[str, Any]) -> str:
    evidence, limit = found["evidence"], found["limit"]
    rows: list[tuple[str, ...]] = []
    names = {"errors": "errors", "refused": "refused", "latency": "slow"}
    for test in evidence:
        weight = f"{evidence[test]:,.2f} of {limit:,.0f}"
        if test == "mismatches":
            rows.append((test, f"{found['differing']:,} of {found['pairs']:,}", "-", weight))
            continue
        of = "timed" if test == "latency" else "requests"
        sides = [f"{found[side][names[test]]:,} of {found[side][of]:,}" for side in ("candidate", "control")]
        rows.append((test, *sides, weight))
    if not rows:
        return "nothing is counted yet"
    shown = columns(("", found["to"], found["from"], "evidence"), rows)
    places = [(each["path"], each["pairs"], each["noise"]) for each in found["mismatches"]]
    if places:
        shown += "\n" + columns(("differs at", "candidate", "noise"), places[:10])
    return shown


def _history(told: Report) -> str:
    rows = []
    for each in told.decisions:
        confirmed = "-" if each.effective is None else f"{1000 * (each.effective - each.at):.0f} ms"
        moved = f"{each.before:g} % -> {each.after:g} %"
        rows.append((_moment(each.at), each.verdict.replace("_", " "), each.by, moved, confirmed, each.reason))
    return columns(("at", "verdict", "by", "share", "confirmed", "reason"), rows)


def _moment(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _exit_status(told: Report) -> int:
    if told.state == "rolled_back":
        return ROLLED_BACK
    return HELD if told.needs or told.state == "held" else 0


def _long(seconds: float) -> str:
    for length, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
