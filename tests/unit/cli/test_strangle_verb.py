"""`skerry strangle` without a gateway: what cannot be done is refused in words, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skerry.cli.main import main

SPEC = """
services: {monolith: {url: "http://127.0.0.1:1"}, books: {url: "http://127.0.0.1:2"}}
routes: [{name: books, path: /, strangle: {from: monolith, to: books, steps: [10%, 100%], shadow: false}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(SPEC)
    return tmp_path


def strangle(folder: Path, verb: str, *more: object) -> Result:
    words = ["strangle", verb]
    if verb == "plan":
        words += [str(folder / "gateway.yaml"), "books"]
    else:
        words += ["books", "--state", str(folder / "state")]
    if verb == "start":
        words += ["--spec", str(folder / "gateway.yaml")]
    return CliRunner().invoke(main, [*words, *map(str, more)])


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0", "1e300", "ten"])
@pytest.mark.parametrize(("verb", "option"), [("plan", "--rate"), ("step", "--to")])
def test_what_is_no_number_is_refused(folder: Path, verb: str, option: str, number: str) -> None:
    """A share or a rate that is none, or without end, is an error of usage and moves nothing."""
    assert strangle(folder, "start").exit_code == 0
    done = strangle(folder, verb, option, number)
    assert done.exit_code == 2
    assert option in done.output
    assert json.loads(strangle(folder, "status", "-o", "json").output)["percent"] == 10.0


def test_a_page_that_cannot_be_written_is_told(folder: Path) -> None:
    """With the file and why, as other errors are."""
    assert strangle(folder, "start").exit_code == 0
    done = strangle(folder, "report", "--file", folder / "nowhere" / "page.html")
    assert done.exit_code == 1
    assert "page.html cannot be written: No such file or directory" in done.output


def test_nothing_counted_is_no_empty_table(folder: Path) -> None:
    """Before the first interval there is no evidence to show."""
    assert "nothing is counted yet" in strangle(folder, "start").output
