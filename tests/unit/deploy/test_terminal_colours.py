"""What processes write, shown on a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.deploy.colours import PALETTE, colours, shown, wants_colour
from skerry.deploy.readable import Prefixes, readable

LEVELS = (0, 95, 135, 175, 215, 255)
"""Of red, green and blue in the cube of the 256 colours of terminals."""


def luminance(colour: int) -> float:
    """The relative luminance of WCAG."""
    places = (colour - 16) // 36, (colour - 16) // 6 % 6, (colour - 16) % 6
    shares = [LEVELS[place] / 255 for place in places]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_is_read_on_black_and_on_white(colour: int) -> None:
    """Each colour has a contrast of three and more against both, as WCAG asks for what is large or bold."""
    assert (luminance(colour) + 0.05) / 0.05 >= 3
    assert 1.05 / (luminance(colour) + 0.05) >= 3


@settings(database=None, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=len(PALETTE)), st.randoms())
def test_colours_are_of_names(names: list[str], chance: object) -> None:
    """Each of a few names has a colour of its own, which does not depend on their order."""
    found = colours(names)
    assert len(set(found.values())) == len(names)
    chance.shuffle(names)  # type: ignore[attr-defined]
    assert colours(names) == found


def test_more_names_than_colours() -> None:
    """With more processes than colours every one has one all the same."""
    assert set(colours(map(str, range(40))).values()) == set(PALETTE)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"TERM": "xterm"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_a_file_has_colours_when_they_are_forced(environ: dict[str, str], wanted: bool, tmp_path: Path) -> None:
    """What is no terminal is coloured only by FORCE_COLOR, and NO_COLOR is stronger."""
    with (tmp_path / "out").open("w") as stream:
        assert wants_colour(stream, environ) is wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_a_terminal_has_colours(environ: dict[str, str], wanted: bool) -> None:
    """A terminal is coloured unless NO_COLOR says something, or it knows no colours."""
    ours, theirs = os.openpty()
    try:
        with os.fdopen(theirs, "w") as stream:
            assert wants_colour(stream, environ) is wanted
    finally:
        os.close(ours)


HOSTILE = [
    ("\x1b[2J\x1b[Hgone", "gone"),
    ("\x1b]0;a title\x07text", "text"),
    ("\x1b]52;c;c3RvbGVu\x1b\\text", "text"),
    ("\x1bc\x1b(0text", "text"),
    ("a\rb\x08c", "a b\ufffdc"),
    ("\x9b2Jtext", "\ufffd2Jtext"),
    ("\x1b[8mhidden", "hidden"),
    ("\x1b[38;5;0;48;5;0mhidden", "hidden"),
    ("right \u202eto left", "right \ufffdto left"),
    ("half a sequence \x1b[", "half a sequence "),
    ("a\ttab", "a   tab"),
]


@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize(("text", "expected"), HOSTILE)
def test_a_line_cannot_steer_a_terminal(text: str, expected: str, styled: bool) -> None:
    """Commands to the terminal are left out, also those that would hide a text, and lone controls can be seen."""
    assert shown(text, styled=styled) == expected


def test_a_line_keeps_its_own_colours_where_there_are_some() -> None:
    """A program's bold and coloured letters are shown on a terminal with colours, and end with their line."""
    assert shown("\x1b[1;31mbad\x1b[0m", styled=True) == "\x1b[1;31mbad\x1b[0m\x1b[0m"
    assert shown("\x1b[31mbad", styled=True) == "\x1b[31mbad\x1b[0m"
    assert shown("\x1b[1;31mbad\x1b[0m", styled=False) == "bad"


@settings(database=None, deadline=None)
@given(st.text(st.sampled_from("\x1b[]0;38mJ\x07\\ab\x9b\r\n\t(\x00"), max_size=30))
def test_nothing_that_is_not_printable_is_left(text: str) -> None:
    """However commands are put together and broken off, nothing but printable characters comes out."""
    assert shown(text, styled=False).isprintable()
    assert shown(shown(text, styled=True), styled=False).isprintable()


def test_a_hostile_name_is_a_name() -> None:
    """A process's name is shown like its lines, and takes its place in the column."""
    prefixes = Prefixes(["evil\x1b[2J", "order"], colour=False)
    assert prefixes.line("evil\x1b[2J", "x") == "evil  | x"
    assert prefixes.line("order", "x") == "order | x"


def test_a_log_line_is_read_by_people() -> None:
    """Of a signal its time, class and what it says; its level only where it is worth a word."""
    head = '"time": "2026-11-29T14:02:11.085Z", "level": "%s", "service": "order"'
    line = f'{{{head % "info"}, "signal": "RelayChanged", "state": "leading", "reason": "", "took": 0.25, "of": "a b"}}'
    (shown_line,) = readable(line, styled=False)
    assert shown_line[2:] == ':02:11.085 RelayChanged state=leading took=0.25 of="a b"'
    line = f'{{{head % "warning"}, "logger": "aiohttp", "message": "odd", "trace_id": "abc"}}'
    (shown_line,) = readable(line, styled=False)
    assert shown_line[13:] == "WARNING odd trace=abc logger=aiohttp"
    (shown_line,) = readable(line, styled=True)
    assert "\x1b[1;38;5;130mWARNING\x1b[0m odd" in shown_line


def test_an_exception_has_lines_of_its_own() -> None:
    """A traceback is read from top to bottom, each line beside the process's name."""
    said = {
        "time": "2026-11-29T14:02:11.085Z",
        "level": "error",
        "message": "failed",
        "exception": "Traceback\n  at x\x1b[2J",
    }
    text = Prefixes(["order"], colour=False).line("order", json.dumps(said))
    assert text.splitlines()[1:] == ["order |   Traceback", "order |     at x"]


@pytest.mark.parametrize("text", ["{}", "{", "[1]", '{"level": "info", "message": "m"}', '{"a": ' * 9999, "plain"])
def test_what_is_no_log_line_is_shown_as_it_is(text: str) -> None:
    """JSON of others, and what is no JSON, is left alone."""
    assert readable(text, styled=False) == [text]


def test_fields_of_a_log_line_cannot_steer_a_terminal() -> None:
    """Commands that come escaped in JSON are left out of what is shown, wherever they stand."""
    bad = "\x1b[2J\x1b]0;t\x07"
    said = {
        "time": bad,
        "level": bad,
        "message": f"{bad}\n{bad}",
        bad: bad,
        "trace_id": bad,
        "logger": bad,
        "exception": bad,
    }
    for line in readable(json.dumps(said), styled=False):
        assert line.isprintable()
