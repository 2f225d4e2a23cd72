"""The example in each help does what it says, in a shop that runs; what is not there is refused in one line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner
from running import SHOP, Shop

from skerry.cli.examples import below
from skerry.cli.main import VERBS, main

EXAMPLE = re.compile(r"^Example: (skerry [^\n]*?)(?:\. [A-Z].*)?$", re.DOTALL)
ELSEWHERE = {
    "": "test_demo",
    "demo": "test_demo",
    "new": "the template's own tests",
    "new system": "the template's own tests",
    "new service": "the template's own tests",
    "run": "test_run and test_reload",
    "console": "test_console_verb",
    "gateway run": "test_gateway_run",
    "stop": "test_run; the others here need this system",
    "events freeze": "the tests of schemas; it reads in every service, as `events check` does",
    "db create": "the tests of databases: it needs a server",
    "split": "the tests of the analyser: it needs a history",
    "decide": "likewise",
    "guard": "likewise",
}
"""Examples that are not run here, and where what they do is tested."""
REFUSED = {
    "mesh status": "without a mesh",
    "mesh rotate": "without a mesh",
    "trace": "no console",
    "dead show": "no parked event",
    "dead replay": "no dead letter",
    "dead drop": "dead letter",
    "saga signal": "",
    "saga retry": "",
    "saga skip": "",
    "saga cancel": "",
    "saga resolve": "",
    "projection drop": "",
    "strangle handover": "",
    "strangle handback": "",
}
"""Examples of what a shop that is well has not, and a word of what they then say."""
BAD_NEWS = {"doctor": {0, 1}, "check": {0, 1, 2, 3}, "strangle status": {0, 3, 4}, "strangle report": {0, 3, 4}}
"""Exit statuses of verbs that say more by theirs than whether they worked."""
ONCE = {
    "simulate",
    "events check",
    "db status",
    "db migrate",
    "check",
    "strangle start",
    "strangle hold",
    "strangle resume",
}
"""They are slow, or have no effect a second time: they run as they stand, and not again with `-o json`."""


def examples() -> Iterator[tuple[str, list[str], bool]]:
    """Of each command its name, its example without `skerry`, and whether it has `-o json`; strangled routes in their order.

    Of `skerry` itself and of each group too, where it is not that of one of its commands.
    """
    found: list[tuple[str, click.Command]] = [("", main)]
    for verb in VERBS:
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        found += below(verb, command)
    of_commands = {part.epilog for _, part in found if not isinstance(part, click.Group)}
    for name, part in found:
        example = EXAMPLE.match(part.epilog or "")
        assert example, f"{name} has no example"
        if not isinstance(part, click.Group) or part.epilog not in of_commands:
            yield name, shlex.split(example[1])[1:], any("-o" in each.opts for each in part.params)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of the shop, and one of what is being strangled, for examples that write where they stand."""
    made = {}
    for name in ("shop", "strangler"):
        made[name] = tmp_path_factory.mktemp("examples") / name
        shutil.copytree(SHOP.parent / name, made[name], ignore=shutil.ignore_patterns("var", "__pycache__"))
    return made


class Told(NamedTuple):
    """What a command said, and how it ended."""

    exit_code: int
    stdout: str
    output: str
    refused: bool = False
    """That it ended in order, with an exit status of its own."""


def typed(words: list[str], shop: Shop, order: str) -> Told:
    """What is typed, with this shop's order and data folder where the verb has such."""
    command: click.Command | None = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word)
    assert command is not None
    which = any("--data" in each.opts for each in command.params) and "--data" not in words
    own = ["--data", str(shop.data)] if which and words[:2] != ["mesh", "certificates"] else []
    arguments = [*(word.replace("ORDER-ID", order) for word in words), *own]
    if words[0] == "simulate":  # it imports the shop's modules, and other tests have modules of the same names
        done = subprocess.run([sys.executable, "-m", "skerry", *arguments], capture_output=True, text=True, check=False)
        return Told(done.returncode, done.stdout, done.stdout + done.stderr)
    found = CliRunner().invoke(main, arguments)
    return Told(found.exit_code, found.stdout, found.output, isinstance(found.exception, SystemExit))


@pytest.mark.timeout(400)  # fifty commands, a few of which read in every service
@pytest.mark.parametrize("shop", ["sqlite"], indirect=True, scope="package")
def test_every_example_runs(shop: Shop, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands in the help, and with `-o json` as JSON: one document, or one on each line of `logs`."""
    order = shop.order().json()["order_id"]
    shop.ended(order)
    wrong: list[str] = []
    for name, words, speaks_json in examples():
        if name in ELSEWHERE:
            continue
        monkeypatch.chdir(folders["strangler" if name.startswith("strangle") else "shop"])
        found = typed(words, shop, order)
        if name in REFUSED:
            ok = found.exit_code == 1 and REFUSED[name] in found.output and found.refused
        else:
            ok = found.exit_code in BAD_NEWS.get(name, {0})
            if ok and speaks_json and name not in ONCE:
                found = typed([*words, "-o", "json"], shop, order)
                ok = found.exit_code in BAD_NEWS.get(name, {0}) and is_json(found.stdout, lines=name == "logs")
        if not ok:
            wrong.append(f"{name}: exit {found.exit_code}: {found.output[-300:]}")
    assert not wrong, "\n".join(wrong)
    shop.until(lambda: all(process["ready"] for process in shop.command("ps")["processes"]))


def is_json(text: str, *, lines: bool) -> bool:
    for document in text.splitlines() if lines else [text]:
        try:
            json.loads(document)
        except ValueError:
            return False
    return True


def test_what_is_not_run_here_is_there() -> None:
    """The lists of exceptions name verbs that there are."""
    assert {*ELSEWHERE, *REFUSED, *BAD_NEWS, *ONCE} <= {name for name, _, _ in examples()}
