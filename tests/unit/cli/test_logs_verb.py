"""What processes wrote is shown with their names, the last of it first looked for, and goes on when a file is replaced."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skerry.cli.logs import LONGEST, Tail, in_order
from skerry.cli.main import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "order.log").write_text("".join(f"line {number}\n" for number in range(500)) + "half a li")
    (folder / "payment.log").write_text('{"level": "info", "message": "ready"}\n\x1b[31mred\n')
    return tmp_path


def _logs(data: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["logs", *words, "--data", str(data)], catch_exceptions=False)


def test_the_last_lines_of_each_process_are_shown(data: Path) -> None:
    """Whole lines only, with the name in front; what a terminal would obey is taken out."""
    shown = _logs(data, "--lines", "2").output.splitlines()
    assert shown[:2] == ["order   | line 498", "order   | line 499"]
    assert shown[2] == 'payment | {"level": "info", "message": "ready"}'
    assert shown[3] == "payment | red"


def test_one_process_can_be_named(data: Path) -> None:
    """And one that there is not is an error that names those that there are."""
    assert _logs(data, "order", "--lines", "1").output == "order | line 499\n"
    wrong = CliRunner().invoke(main, ["logs", "oder", "--data", str(data)])
    assert wrong.exit_code == 1
    assert "there are: order, payment" in wrong.stderr


def test_logs_that_are_not_there_are_said_to_be_elsewhere(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a running system, those of one that has ended are found by its data folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(data))
    monkeypatch.setattr(tempfile, "tempdir", str(data))
    other = CliRunner().invoke(main, ["logs", "--data", str(data / "other")])
    assert other.exit_code == 1
    assert other.stderr == f"error: there is no folder {data}/other/logs, and no system runs with that data folder\n"
    none = CliRunner().invoke(main, ["logs"])
    assert none.exit_code == 1
    assert none.stderr == "error: no system is running: name the data folder of one that has ended with --data\n"


def test_a_log_that_cannot_be_read_is_an_error(data: Path) -> None:
    """Nothing at all would look like a process that wrote nothing."""
    (data / "logs" / "odd.log").mkdir()
    shown = CliRunner().invoke(main, ["logs", "odd", "--data", str(data)])
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == f"error: {data}/logs/odd.log: Is a directory\n"


def test_json_keeps_objects_as_objects(data: Path) -> None:
    """A line that is an object stays one; any other is text."""
    lines = [json.loads(line) for line in _logs(data, "payment", "-o", "json").output.splitlines()]
    assert lines == [
        {"process": "payment", "said": {"level": "info", "message": "ready"}},
        {"process": "payment", "said": "\x1b[31mred"},
    ]


def test_no_lines_are_no_lines(data: Path) -> None:
    """`--lines 0` is for those who only want what comes."""
    assert _logs(data, "--lines", "0").output == ""


def test_processes_are_told_together() -> None:
    """Lines are in the order of their times, whoever wrote them, and what tells no time stays behind the line before it."""

    def at(second: int) -> str:
        return f'{{"time": "2026-11-29T14:02:{second:02}.000Z", "level": "info"}}'

    found = {"order": ["first", at(2), "  more", at(4)], "payment": [at(1), at(3), at(2)]}
    assert list(in_order(found)) == [
        ("order", "first"),
        ("payment", at(1)),
        ("order", at(2)),
        ("order", "  more"),
        ("payment", at(3)),
        ("payment", at(2)),
        ("order", at(4)),
    ]


def test_a_tail_goes_on_where_it_was(tmp_path: Path) -> None:
    """A line is shown once, when it is whole, also across a file that is replaced by a new one."""
    path = tmp_path / "order.log"
    path.write_text("one\ntw")
    tail = Tail(path, "order")
    assert tail.last(10) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(tail.new()) == ["two"]
    with path.open("a") as file:
        file.write("three\n")
    path.rename(tmp_path / "order.log.1")
    path.write_text("four\n")
    assert list(tail.new()) == ["three", "four"]
    assert list(tail.new()) == []
    tail.close()


def test_a_file_that_comes_later_is_shown_from_its_beginning(tmp_path: Path) -> None:
    """A process may not have written anything yet."""
    path = tmp_path / "order.log"
    tail = Tail(path, "order")
    assert tail.last(10) == []
    assert list(tail.new()) == []
    path.write_text("one\n")
    assert list(tail.new()) == ["one"]
    tail.close()


def test_a_line_without_an_end_is_shown_in_pieces(tmp_path: Path) -> None:
    """Nobody's memory is filled by a process that writes no line ends."""
    path = tmp_path / "order.log"
    path.write_text("")
    tail = Tail(path, "order")
    tail.last(1)
    path.write_text("x" * (LONGEST + 1))
    assert list(tail.new()) == ["x" * (LONGEST + 1)]
    tail.close()
