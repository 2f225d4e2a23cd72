"""What happens to the output of processes."""

from __future__ import annotations

import os
import threading
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
        (True, "\x1b[38;5;133morder   |\x1b[0m hi\nnot ours\n\x1b[38;5;66mpayment |\x1b[0m ho\n"),
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
    """While nobody reads, no caller waits; the lines that do not fit are left out, and the next one says how many."""
    monkeypatch.setattr(output, "QUEUED_LINES", 300)
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as reader:
        with os.fdopen(write, "w") as stream:
            console = Console(stream, ["order"])
        for number in range(output.QUEUED_LINES + 200):
            console.line("order", f"{number} {'x' * 1000}")
        seen = b""
        while console._queue.qsize():
            seen += reader.read(1 << 20)
        console.line("order", "last")
        closing_ = threading.Thread(target=console.close)
        closing_.start()
        while data := reader.read(1 << 20):
            seen += data
        closing_.join()
    lines = seen.decode().splitlines()
    notices = [line for line in lines if line.endswith("lines left out: they came faster than they could be shown)")]
    assert lines[0].startswith("order | 0 ")
    assert lines[-1] == "order | last"
    assert notices
    # Each line is either shown or counted by a notice; the writing thread may make room, and so cause a notice, at any time.
    shown = len(lines) - len(notices)
    assert shown + sum(int(notice.split()[0].strip("(")) for notice in notices) == output.QUEUED_LINES + 200 + 1


def test_console_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing gives up in bounded time when nobody reads; once the reader is gone, the rest is thrown away."""
    monkeypatch.setattr(output, "_CLOSE_TIMEOUT", 0.0)
    monkeypatch.setattr(output, "QUEUED_LINES", 300)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        console = Console(stream, ["order"])
    for number in range(output.QUEUED_LINES + 200):
        console.line("order", f"{number} {'x' * 1000}")
    console.close()
    os.close(read)
    console._thread.join()


def test_log_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has a log file; one that grows too large is set aside, replacing the one before."""
    monkeypatch.setattr(output, "MAX_LOG_FILE", 10)
    with closing(LogFiles(tmp_path / "logs")) as logs:
        for number in range(5):
            logs.line("order", f"line {number}")
        logs.line("payment", "paid")
    assert (tmp_path / "logs" / "order.log.1").read_text() == "line 2\nline 3\n"
    assert (tmp_path / "logs" / "order.log").read_text() == "line 4\n"
    assert logs.path("payment").read_text() == "paid\n"
    with closing(LogFiles(tmp_path / "logs")) as logs:
        logs.line("payment", "on")
    assert logs.path("payment").read_text() == "paid\non\n"


def test_log_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A log that cannot be written is no reason to stop the system."""
    (tmp_path / "logs").touch()
    with closing(LogFiles(tmp_path / "logs")) as logs:
        logs.line("order", "lost")
