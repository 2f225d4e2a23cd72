"""The file `.env` beside the system file: what Compose reads in it is read, the rest is an error without the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.deploy.dotenv import read_dotenv
from skerry.errors import ConfigurationError


def read(folder: Path, text: str) -> dict[str, str]:
    (folder / ".env").write_bytes(text.encode())
    return read_dotenv(folder)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=one", "one"),
        ("export A=one", "one"),
        ("  A = one two  ", "one two"),
        ("A=", ""),
        ("A=one # a comment", "one"),
        ("A= # a comment", ""),
        ("A=#one", "#one"),
        ("A=one#two", "one#two"),
        ("A=postgres://u:p@db/x?y=z", "postgres://u:p@db/x?y=z"),
        ("A=it's $5", "it's $5"),
        ("A='one # two' # a comment", "one # two"),
        (r"A='\n ${B}'", r"\n ${B}"),
        (r'A="one\ttwo\n\"three\" \\ \$ \x"', 'one\ttwo\n"three" \\ $ \\x'),
        ('A="-----BEGIN\nline\n-----END"', "-----BEGIN\nline\n-----END"),
        ("A=one\nA=two", "two"),
        ("\ufeffA=one\r", "one"),
        ("# A=zero\n\n \t\nA=one\n#", "one"),
    ],
)
def test_what_is_read(tmp_path: Path, line: str, value: str) -> None:
    """Names and values, in quotes or not, with `export`, comments and line ends, as those who use Compose expect."""
    assert read(tmp_path, line) == {"A": value}
    assert read(tmp_path, f"{line}\nB='2'\n") == {"A": value, "B": "2"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("s3cret", "NAME=VALUE"),
        ("export s3cret", "NAME=VALUE"),
        ("1A=s3cret", "NAME=VALUE"),
        ("A-B=s3cret", "NAME=VALUE"),
        ("=s3cret", "NAME=VALUE"),
        ("A='s3cret", "quote"),
        ('A="s3cret', "quote"),
        ("A='s3cret' more", "quote"),
        ("A=s3cret${B}", "filled in"),
        ('A="s3cret${B}"', "filled in"),
        ("A=s3cret\0", "character"),
    ],
)
def test_what_is_an_error(tmp_path: Path, line: str, what: str) -> None:
    """It names the file and the line in which the mistake begins, and never what stands there."""
    with pytest.raises(ConfigurationError, match=what) as raised:
        read(tmp_path, f"FIRST='1\n2'\n# a comment\n{line}\n")
    assert (raised.value.source, raised.value.line) == (str(tmp_path / ".env"), 4)
    assert "s3cret" not in str(raised.value).replace(str(tmp_path), "")


def test_a_file_that_is_no_such_text_is_an_error(tmp_path: Path) -> None:
    """Neither bytes that are no UTF-8 nor a file without end are taken."""
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_dotenv(tmp_path)
    with pytest.raises(ConfigurationError, match="65536 bytes"):
        read(tmp_path, "A=" + "x" * 65536)


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    """No file is no mistake, nor is a folder of that name, in which some keep an environment of Python."""
    assert read_dotenv(tmp_path) == {}
    (tmp_path / ".env").mkdir()
    assert read_dotenv(tmp_path) == {}
