"""What happens to the output of processes."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.deploy import Console, LogFiles, output
from skerry.deploy.output import LineSplitter


@settings(database=None, deadline=None)
@given(st.lists(st.text(st.sampled_from("aé\n\r"), max_size=20)), st.integers(1, 30))
def test_lines_do_not_depend_on_how_they_arrive(parts: list[str], size: int) -> None:
    """However a stream is cut into pieces, the same lines come out."""
    stream = "".join(parts).encode()
    whole, pieces = LineSplitter(), LineSplitter()
    expected = whole.feed(stream) + whole.finish()
    found = [line for i in range(0, len(stream), size) for line in pieces.feed(stream[i : i + size])]
    assert found + pieces.finish() == expected
    assert [line + "\r" * 0 for line in expected] == [
        part.removesuffix("\r") for part in stream.decode().removesuffix("\n").split("\n")
    ][: len(expected)]


def test_long_lines_are_cut() -> None:
    """What goes beyond the limit of a line is left out, and the line says so; the next one is whole."""
    splitter = LineSplitter(4)
    assert splitter.feed(b"123") == []
    assert splitter.feed(b"456") == []
    assert splitter.feed(b"7\n1234\n") == ["1234 [cut]", "1234"]


def test_bytes_that_are_no_text() -> None:
    """Bytes that are not UTF-8 are replaced, not an error."""
    assert LineSplitter().feed(b"\xff\n") == ["\ufffd"]


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        (False, "order   | hi\nnot ours\npayment | ho\n"),
        (True, "\x1b[36morder   |\x1b[0m hi\nnot ours\n\x1b[33mpayment |\x1b[0m ho\n"),
    ],
)
def test_console_prefixes_lines(tmp_path: Path, colour: bool, expected: str) -> None:
    """Each line begins with its process's name, padded, and coloured where that was asked for; our own have no prefix."""
    path = tmp_path / "out"
    with path.open("w") as stream, closing(Console(stream, ["order", "payment"], colour=colour)) as console:
        console.line("order", "hi")
        console.say("not ours")
        console.line("payment", "ho")
    assert path.read_text() == expected


def test_console_on_a_file_has_no_colours(tmp_path: Path) -> None:
    """Colours are only for terminals."""
    path = tmp_path / "out"
    with path.open("w") as stream, closing(Console(stream, ["order"])) as console:
        console.line("order", "hi")
    assert path.read_text() == "order | hi\n"


def test_console_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody reads, lines are left out and counted, and no caller waits; closing gives up in bounded time."""
    monkeypatch.setattr(output, "_CLOSE_TIMEOUT", 0.0)
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader:
        with open(write, "w") as stream:
            console = Console(stream, ["order"])
            lines = output.QUEUED_LINES + 200
            for number in range(lines):
                console.line("order", f"{number} {'x' * 1000}")
            console.close()
            os.set_blocking(read, False)
            seen = reader.read(1024)
        assert seen.startswith(b"order | 0 x")
    console._thread.join()  # the reader is gone, so it drains its queue and ends
