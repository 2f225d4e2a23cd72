"""`skerry saga`: sagas to look at, and those that wait for a person to settle."""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, get_args

import click

from skerry.cli import options
from skerry.cli.databases import Place, ask_each, opened, places
from skerry.cli.text import age, columns, count, plain
from skerry.clock import SYSTEM
from skerry.errors import UnknownSaga
from skerry.saga import Happened, Journal, SagaCount, SagaLine, Sagas, SagaStatus
from skerry.saga.entry import Status
from skerry.saga.operation import OPEN
from skerry.store import Database

STATUSES: Final = get_args(Status)
HEAD: Final = ("service", "id", "saga", "key", "status", "age", "reason")
_MANY: Final = 10

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def saga() -> None:
    """Look at sagas, and settle those that are stuck.

    The service may run meanwhile, and goes on by itself. SAGA is the id of a saga or the key it was started with.

    Each command takes -o [text|json].
    """


@saga.command("list")
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@click.option("--name", default="", metavar="NAME", help="Only sagas of this name.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([*STATUSES, "all"]),
    help=f"Only these; may be repeated. [default: {', '.join(OPEN)}]",
)
@options.limit("sagas")
@options.which_databases
@options.output
def list_(
    services: tuple[str, ...],
    name: str,
    statuses: tuple[str, ...],
    limit: int,
    where: options.Where,
    output: str,
) -> None:
    """List sagas, the stuck ones first, then the oldest. No inputs or results are shown."""
    wanted: Any = STATUSES if "all" in statuses else statuses or OPEN

    async def look(place: Place, database: Database) -> list[tuple[str, SagaLine]]:
        return [(place.service, line) for line in await Sagas(database).found(statuses=wanted, name=name, limit=limit)]

    answers, complete = asyncio.run(ask_each(places(services, where), look, needs=Journal.schema))
    each = (entry for found in answers for entry in found)
    first = heapq.nsmallest(limit, each, key=lambda entry: (entry[1].status != "stuck", entry[1].started_at))
    if output == "json":
        click.echo(json.dumps({"sagas": [{"service": service, **asdict(line)} for service, line in first]}, indent=2))
    elif not first:
        click.echo(f"no sagas that are {' or '.join(wanted)}" if answers else "", nl=bool(answers))
    else:
        now = SYSTEM.now()
        rows = [
            (service, line.id, line.name, line.key, line.status, age(now - line.started_at), line.reason)
            for service, line in first
        ]
        click.echo(columns(HEAD, rows))
    sys.exit(0 if complete else 1)


@saga.command()
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@options.which_databases
@options.output
def stats(services: tuple[str, ...], where: options.Where, output: str) -> None:
    """Count sagas by name, version and status, and say how old the oldest of each is."""

    async def look(place: Place, database: Database) -> tuple[str, list[SagaCount]]:
        return place.service, await Sagas(database).stats()

    answers, complete = asyncio.run(ask_each(places(services, where), look, needs=Journal.schema))
    found = [(service, each) for service, counts in answers for each in counts]
    now = SYSTEM.now()
    if output == "json":
        shown = [{"service": name, **asdict(each), "age": round(now - each.oldest, 3)} for name, each in found]
        click.echo(json.dumps({"stats": shown}, indent=2))
    elif found:
        rows = [(name, s.name, s.version, s.status, s.sagas, age(now - s.oldest)) for name, s in found]
        click.echo(columns(("service", "saga", "version", "status", "sagas", "oldest"), rows))
    elif answers:
        click.echo("no sagas")
    sys.exit(0 if complete else 1)


@saga.command()
@click.argument("service")
@click.argument("which", metavar="SAGA")
@click.option(
    "--data-too", is_flag=True, help="Its input and results too, but for what is redacted. They may hold personal data."
)
@options.which_databases
@options.output
def show(service: str, which: str, where: options.Where, output: str, *, data_too: bool) -> None:
    """Show one saga: where it stands, and what happened when."""

    async def look(database: Database) -> tuple[SagaStatus, list[Happened], list[SagaLine]]:
        sagas = Sagas(database)
        saga_id = await _identified(sagas, which)
        return await sagas.get(saga_id), await sagas.timeline(saga_id), await sagas.children(saga_id)

    status, timeline, children = _ask(service, where, look)
    data: dict[str, Any] = {}
    if data_too:
        shown = status.as_shown()
        data = {
            "input": json.loads(shown.input),
            "results": {step: json.loads(text) for step, text in shown.results.items() if text is not None},
        }
    about = {"id": status.id, "saga": status.name, "version": status.version, "key": status.key}
    about |= {"status": status.status, "reason": status.reason, "trace": status.traceparent[3:35]}
    if status.parent:
        about["parent"] = status.parent
    if output == "json":
        entries = [asdict(entry) for entry in timeline]
        click.echo(
            json.dumps(
                {
                    "service": service,
                    **about,
                    "steps": dict(status.steps),
                    **({"children": [asdict(line) for line in children]} if children else {}),
                    **data,
                    "timeline": entries,
                },
                indent=2,
            )
        )
        return
    width = max(map(len, about))
    lines = [f"{name.ljust(width)}  {value}" for name, value in about.items()]
    click.echo(plain("\n".join(["service".ljust(width) + f"  {service}", *lines, ""])))
    begun = timeline[0].at
    rows = [
        (_clock(entry.at), f"+{entry.at - begun:.3f} s", entry.step, entry.what + _by(entry), entry.note)
        for entry in timeline
    ]
    click.echo(columns(("at (UTC)", "after", "step", "what", "note"), rows))
    if children:
        found = [(line.key.rpartition(":")[2], line.id, line.name, line.status, line.reason) for line in children]
        click.echo("\n" + columns(("child", "id", "saga", "status", "reason"), found))
    if data_too:
        click.echo("\n" + plain(json.dumps(data, indent=2, ensure_ascii=False)))


def _act(command: Command) -> Command:
    """Arguments and options of what changes one saga."""
    note = click.option("--note", default="", metavar="TEXT", help="Why; kept with the saga.")
    which = click.argument("which", metavar="SAGA")
    return click.argument("service")(which(note(options.which_databases(options.output(command)))))


@saga.command()
@click.argument("service")
@click.argument("which", metavar="SAGA")
@click.argument("name")
@click.option("--value", default="null", metavar="JSON", help="What the step that waits gets.")
@click.option("--id", "signal_id", default="", metavar="TEXT", help="The same id again has no effect.")
@options.which_databases
@options.output
def signal(service: str, which: str, name: str, value: str, signal_id: str, where: options.Where, output: str) -> None:
    """Send a saga the signal NAME that it waits for, or will: an approval, for instance. The first one counts."""
    given = _json(value, "--value")
    _change(
        service,
        where,
        which,
        output,
        lambda sagas, saga_id: sagas.signal(saga_id, name, given, id=signal_id),
        running=f"was sent {name}",
    )


@saga.command()
@_act
def retry(service: str, which: str, note: str, where: options.Where, output: str) -> None:
    """Let a stuck saga go on where it stands, with all attempts. Mend the cause first."""
    _change(service, where, which, output, lambda sagas, saga_id: sagas.retry(saga_id, note=note))


@saga.command()
@_act
@click.option("--step", required=True, help="The step it stands at; another one is refused.")
@click.option(
    "--result", default="null", metavar="JSON", help="What the step would have returned, for those behind it."
)
def skip(service: str, which: str, step: str, result: str, note: str, where: options.Where, output: str) -> None:
    """Take the step at which a stuck saga stands for done, or for undone when it goes back.

    For what you did by other means: the saga goes on behind it.
    """
    value = _json(result, "--result")
    _change(service, where, which, output, lambda sagas, saga_id: sagas.skip(saga_id, step, result=value, note=note))


@saga.command()
@_act
def cancel(service: str, which: str, note: str, where: options.Where, output: str) -> None:
    """Turn a saga back that has not passed its point of no return: what was done is undone.

    One that runs turns back before its next attempt. Of a stuck one whose step cannot be undone it is taken that the step had
    no effect: make sure of that.
    """
    _change(
        service,
        where,
        which,
        output,
        lambda sagas, saga_id: sagas.cancel(saga_id, note=note),
        running="is asked to turn back",
    )


@saga.command()
@_act
@click.option(
    "--as", "outcome", required=True, type=click.Choice(["completed", "compensated"]), help="What it has come to."
)
def resolve(service: str, which: str, outcome: Any, note: str, where: options.Where, output: str) -> None:
    """End a stuck saga as it stands, without doing anything more. There is no way back.

    For when you have set everything right.
    """
    _change(service, where, which, output, lambda sagas, saga_id: sagas.resolve(saga_id, outcome, note=note))


T = TypeVar("T")


def _ask(service: str, where: options.Where, question: Callable[[Database], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with opened(places([service], where)[0], needs=Journal.schema) as database:
            return await question(database)

    return asyncio.run(ask())


def _change(
    service: str,
    where: options.Where,
    which: str,
    output: str,
    act: Callable[[Sagas, str], Awaitable[SagaStatus]],
    *,
    running: str = "is running",
) -> None:
    async def change(database: Database) -> SagaStatus:
        sagas = Sagas(database)
        return await act(sagas, await _identified(sagas, which))

    status = _ask(service, where, change)
    if output == "json":
        about = {"service": service, "id": status.id, "saga": status.name, "key": status.key}
        click.echo(json.dumps({**about, "status": status.status, "reason": status.reason}, indent=2))
    else:
        says = running if status.status == "running" else f"is {status.status}"
        click.echo(plain(f"{service}: {status.name} {status.key} {says}"))


async def _identified(sagas: Sagas, which: str) -> str:
    """The id of the saga that is meant, by its id or its key."""
    try:
        return (await sagas.get(which)).id
    except UnknownSaga:
        found = await sagas.found(statuses=STATUSES, key=which, limit=_MANY)
    if len(found) == 1:
        return found[0].id
    if not found:
        raise UnknownSaga(f"there is no saga with the id or the key {which[:60]!r}")
    names = ", ".join(f"{line.name} {line.id}" for line in found)
    raise UnknownSaga(f"{count(len(found), 'saga')} have the key {which[:60]!r}, say which by its id: {names}")


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise click.BadParameter("it is no JSON", param_hint=option) from None


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _by(entry: Happened) -> str:
    return " (by hand)" if entry.by_hand else ""
