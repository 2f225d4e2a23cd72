"""The help of every command and group has an example, and every command speaks JSON."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from skerry.cli.examples import EXAMPLES, below
from skerry.cli.main import VERBS, main

HERE = Path(__file__).parents[3]
EXAMPLE = re.compile(r"^Example: (skerry [^\n]*?)(?:\. [A-Z].*)?$", re.DOTALL)
WITHOUT_JSON = {
    "gateway run": "it serves until it is told to stop",
    "gateway export": "manifests are its output",
    "gateway schema": "a schema is JSON",
}
"""Commands that have no `-o`, and why."""


def everything() -> Iterator[tuple[str, click.Command]]:
    """`skerry` itself, each verb, and all that is below one."""
    yield "", main
    for verb in VERBS:
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        yield from below(verb, command)


EVERYTHING = dict(everything())
COMMANDS = {name: each for name, each in EVERYTHING.items() if not isinstance(each, click.Group)}


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_help_has_an_example_that_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of the help is that command, or of a group one of its commands, complete and with options that there are."""
    shutil.copy(HERE / "examples" / "shop" / "gateway.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    found = EXAMPLE.match(EVERYTHING[name].epilog or "")
    assert found, EVERYTHING[name].epilog
    _, *words = shlex.split(found[1].partition(" && ")[0])
    assert words[: len(name.split())] == name.split()
    with main.make_context("skerry", words) as context:
        command, rest = context.command, words
        while isinstance(command, click.Group):
            _, part, rest = command.resolve_command(context, rest)
            assert part is not None
            command = part
        with command.make_context(name, rest, parent=context):
            assert command is COMMANDS.get(name, command)


def test_examples_are_of_verbs_that_there_are() -> None:
    """A verb that is renamed takes its example along."""
    assert EXAMPLES.keys() <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    """`-o json` is an option of every verb and of every part, but for those that have nothing else to say."""
    output = next((each for each in COMMANDS[name].params if "-o" in each.opts), None)
    if name in WITHOUT_JSON:
        assert output is None
    else:
        assert output is not None
        assert isinstance(output.type, click.Choice)
        assert "json" in output.type.choices
