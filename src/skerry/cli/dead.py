"""`skerry dead`: what the services could not handle, to look at, try again or give up."""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, NoReturn, TypeVar

import click

from skerry.cli import options
from skerry.cli.databases import Place, ask_each, opened, places
from skerry.cli.text import age, columns, count, plain
from skerry.clock import SYSTEM
from skerry.errors import DeployError
from skerry.events import Dead, DeadLetters, Letter
from skerry.store import Database

HEAD: Final = ("service", "id", "group", "type", "key", "attempts", "held", "age", "reason")
LARGEST_ID: Final = 2**63 - 1
_ID: Final = click.IntRange(1, LARGEST_ID)

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def dead() -> None:
    """Look at what services could not handle, try it again, or give it up.

    An event is a dead letter after its last attempt; later events of its key are held behind it. The service may run
    meanwhile, and goes on by itself.

    Each command takes -o [text|json].
    """


def _filters(command: Command) -> Command:
    event_type = click.option("--type", "event_type", metavar="TYPE", help="Only events of this type.")
    return event_type(click.option("--key", metavar="KEY", help="Only events of this key.")(command))


@dead.command("list")
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@_filters
@options.limit("dead letters")
@options.which_databases
@options.output
def list_(
    services: tuple[str, ...], key: str | None, event_type: str | None, limit: int, where: options.Where, output: str
) -> None:
    """List dead letters, the oldest first, and how many events are held behind each. No payloads are shown."""

    async def look(place: Place, database: Database) -> tuple[str, list[Dead], int]:
        letters = DeadLetters(database)
        found = await letters.dead(limit=limit, key=key, event_type=event_type)
        return place.service, found, await letters.count(key=key, event_type=event_type)

    answers, complete = asyncio.run(ask_each(places(services, where), look))
    total = sum(number for _, _, number in answers)
    each = ((letter.parked_at, name, letter) for name, found, _ in answers for letter in found)
    oldest = [(name, letter) for _, name, letter in heapq.nsmallest(limit, each, key=lambda entry: entry[0])]
    now = SYSTEM.now()
    if output == "json":
        shown = [{"service": name, **asdict(letter), "age": _since(letter, now)} for name, letter in oldest]
        click.echo(json.dumps({"dead": shown, "total": total}, indent=2))
    elif answers:
        click.echo(_table(oldest, total, now))
    sys.exit(0 if complete else 1)


def _table(oldest: Sequence[tuple[str, Dead]], total: int, now: float) -> str:
    if not oldest:
        return "no dead letters"
    of = count(total, "dead letter") if len(oldest) == total else f"the oldest {len(oldest)} of {total} dead letters"
    rows = [
        (name, one.id, one.group, one.type, one.key, one.attempts, one.held, age(_since(one, now)), one.reason)
        for name, one in oldest
    ]
    return f"{of}\n\n{columns(HEAD, rows)}"


@dead.command()
@click.argument("service")
@click.argument("letter_id", metavar="ID", type=_ID)
@options.which_databases
@options.output
def show(service: str, letter_id: int, where: options.Where, output: str) -> None:
    """Show all of one dead or held event, with its payload, which may hold personal data."""

    async def look() -> tuple[Letter | None, int]:
        async with opened(_one(service, where)) as database:
            letters = DeadLetters(database)
            return await letters.get(letter_id), await letters.behind(letter_id)

    letter, held = asyncio.run(look())
    if letter is None:
        raise DeployError(f"{service} has no parked event {letter_id}: see `skerry dead list --service {service}`")
    values = {"service": service, **asdict(letter), "held": held, "age": _since(letter, SYSTEM.now())}
    body = values.pop("body")
    envelope = _parsed(body)
    if output == "json":
        click.echo(json.dumps({**values, "envelope": envelope, "body": body if envelope is None else None}, indent=2))
        return
    values.pop("parked_at")
    width = max(map(len, values))
    lines = [f"{name.ljust(width)}  {age(value) if name == 'age' else value}" for name, value in values.items()]
    text = body if envelope is None else json.dumps(envelope, indent=2, ensure_ascii=False)
    click.echo(plain("\n".join([*lines, "", text])))


@dead.command()
@click.argument("service")
@click.argument("ids", metavar="ID...", type=_ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, the oldest first, as far as --limit allows.")
@_filters
@options.limit("dead letters with --all")
@options.which_databases
@options.output
def replay(
    service: str,
    ids: tuple[int, ...],
    key: str | None,
    event_type: str | None,
    limit: int,
    where: options.Where,
    output: str,
    *,
    everything: bool,
) -> None:
    """Try dead letters of SERVICE again, with all their attempts. Those held behind them follow.

    Mend the cause first. Exit status 1 when one of the ids is no dead letter's.
    """
    if bool(ids) is everything:
        raise click.UsageError("name the ids, or say --all")
    if ids and (key is not None or event_type is not None):
        raise click.UsageError("--key and --type go with --all")

    async def retry() -> tuple[list[tuple[int, bool]], int]:
        async with opened(_one(service, where)) as database:
            letters = DeadLetters(database)
            if everything:
                done = await letters.retry_all(limit=limit, key=key, event_type=event_type)
                return [(each, True) for each in done], await letters.count(key=key, event_type=event_type)
            return [(each, await letters.retry(each)) for each in dict.fromkeys(ids)], 0

    results, left = asyncio.run(retry())
    if output == "text" and everything:
        click.echo(f"{service}: {count(len(results), 'dead letter')} will be tried again, {left} left")
    _report(service, results, "will be tried again", output, left=left)


@dead.command()
@click.argument("service")
@click.argument("ids", metavar="ID...", type=_ID, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask; needed when there is nobody to ask.")
@options.which_databases
@options.output
def drop(service: str, ids: tuple[int, ...], where: options.Where, output: str, *, yes: bool) -> None:
    """Give dead letters of SERVICE up: each event is deleted, and those held behind it go on.

    There is no way back. Exit status 1 when one of the ids is no dead letter's.
    """
    wanted = list(dict.fromkeys(ids))
    place = _one(service, where)
    if not yes:
        _confirm(service, asyncio.run(_look_at(place, wanted)))

    async def give_up() -> list[tuple[int, bool]]:
        async with opened(place) as database:
            letters = DeadLetters(database)
            return [(each, await letters.drop(each)) for each in wanted]

    _report(service, asyncio.run(give_up()), "is dropped", output)


async def _look_at(place: Place, ids: Sequence[int]) -> list[tuple[Letter, int]]:
    async with opened(place) as database:
        letters = DeadLetters(database)
        found = [(await letters.get(each), await letters.behind(each)) for each in ids]
    return [(letter, held) for letter, held in found if letter is not None and letter.state == "dead"]


def _confirm(service: str, found: Sequence[tuple[Letter, int]]) -> None:
    """Ask a person; there is nothing to ask when there is nothing to lose."""
    if not found:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: say --yes to drop without being asked")
    for letter, held in found:
        behind = f"{count(held, 'event')} behind it will go on" if held else "none waits behind it"
        click.echo(
            plain(f"{service} {letter.id}: {letter.type} of {letter.key}, for {letter.group}; {behind}"), err=True
        )
    click.confirm(f"Give {count(len(found), 'event')} up for good?", abort=True, err=True)


def _report(
    service: str, results: Sequence[tuple[int, bool]], done: str, output: str, *, left: int | None = None
) -> NoReturn:
    if output == "json":
        answer: dict[str, Any] = {"service": service, "letters": [{"id": each, "done": ok} for each, ok in results]}
        click.echo(json.dumps(answer if left is None else {**answer, "left": left}, indent=2))
    else:
        for each, ok in results:
            click.echo(f"{service}: {each} {done}" if ok else f"{service}: {each} is no dead letter; nothing was done")
    sys.exit(0 if all(ok for _, ok in results) else 1)


def _one(service: str, where: options.Where) -> Place:
    return places([service], where)[0]


def _since(letter: Dead | Letter, now: float) -> float:
    return round(max(0.0, now - letter.parked_at), 3)


def _parsed(body: str) -> Any:
    """The envelope; None when it is no JSON, or would not be shown again as it stands there."""
    try:
        found = json.loads(body, parse_constant=_refuse, object_pairs_hook=_once)
        json.dumps(found, indent=2)
    except (ValueError, RecursionError):
        return None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
