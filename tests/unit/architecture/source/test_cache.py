"""What was read, kept by its content."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from skerry.architecture.source.cache import Cache, folder, version_of

V = b"version"


def kept(file: Path, path: str, content: bytes, *, version: bytes = V) -> bytes | None:
    with Cache(file, version=version) as cache:
        key = cache.key(path, content)
        return cache.take([key]).get(key)


def keep(file: Path, path: str, content: bytes, what: bytes = b"facts", *, most: int = 10_000) -> None:
    with Cache(file, version=V, most=most) as cache:
        cache.keep({cache.key(path, content): what})


def test_it_is_found_by_path_content_and_version(tmp_path: Path) -> None:
    """Another path, another content or another reader finds nothing."""
    file = tmp_path / "new" / "check.sqlite3"
    keep(file, "a.py", b"x = 1")
    assert kept(file, "a.py", b"x = 1") == b"facts"
    assert kept(file, "b.py", b"x = 1") is None
    assert kept(file, "a.py", b"x = 2") is None
    assert kept(file, "a.py", b"x = 1", version=b"other") is None


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """What was read may be private: neither group nor others see it, whatever the mask says."""
    before = os.umask(0)
    try:
        keep(tmp_path / "new" / "check.sqlite3", "a.py", b"")
    finally:
        os.umask(before)
    for path in (tmp_path / "new", tmp_path / "new" / "check.sqlite3"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


@pytest.mark.parametrize("content", [b"", b"nothing", b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """It costs what was kept, not the run; and from then on it works again."""
    file = tmp_path / "check.sqlite3"
    file.write_bytes(content)
    assert kept(file, "a.py", b"") is None
    keep(file, "a.py", b"")
    assert kept(file, "a.py", b"") == b"facts"


def test_damaged_pages_are_a_miss(tmp_path: Path) -> None:
    """Damage in the middle of the file gives nothing, never something else."""
    file = tmp_path / "check.sqlite3"
    for i in range(50):
        keep(file, f"{i}.py", b"", b"%d" % i * 200, most=1_000_000)
    content = bytearray(file.read_bytes())
    for i in range(5_000, len(content), 97):
        content[i] ^= 0xFF
    file.write_bytes(content)
    assert {kept(file, f"{i}.py", b"") for i in range(50)} <= {None, *(b"%d" % i * 200 for i in range(50))}


def test_changed_content_is_a_miss(tmp_path: Path) -> None:
    """Each content has its digest."""
    file = tmp_path / "check.sqlite3"
    keep(file, "a.py", b"")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE kept SET content = substr(content, 1, 8) || CAST('other' AS BLOB)")
    database.close()
    assert kept(file, "a.py", b"") is None


def test_another_table_is_a_miss(tmp_path: Path) -> None:
    """A file of another format does no harm."""
    file = tmp_path / "check.sqlite3"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE kept (something TEXT)")
    database.close()
    keep(file, "a.py", b"")
    assert kept(file, "a.py", b"") in {None, b"facts"}


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    """The whole stays below its limit."""
    file = tmp_path / "check.sqlite3"
    for i in range(30):
        keep(file, f"{i}.py", b"", b"x" * 100, most=1_000)
    found = [i for i in range(30) if kept(file, f"{i}.py", b"")]
    assert 1 <= len(found) <= 10
    assert found[-1] == 29


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """No place, a file instead of a folder, a link instead of a file: nothing is kept and nothing raises."""
    (tmp_path / "file").write_text("")
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for file in (tmp_path / "file" / "check.sqlite3", tmp_path, tmp_path / "link", Path("/proc/nothing/x")):
        keep(file, "a.py", b"")
        assert kept(file, "a.py", b"") is None
    assert (tmp_path / "target").read_text() == "mine"


def test_two_runs_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    """While one writes, another reads what was there, and both go on."""
    file = tmp_path / "check.sqlite3"
    keep(file, "a.py", b"")
    with Cache(file, version=V) as one, Cache(file, version=V) as other:
        one.keep({one.key("b.py", b""): b"b"})
        other.keep({other.key("c.py", b""): b"c"})
        keys = [one.key(f"{name}.py", b"") for name in "abc"]
        assert set(other.take(keys).values()) == {b"facts", b"b", b"c"}


def test_the_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`XDG_CACHE_HOME` where it is an absolute path, else the home's `.cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    assert folder() == tmp_path / "skerry"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert folder() == tmp_path / ".cache" / "skerry"


def test_a_reader_that_changed_has_another_version(tmp_path: Path) -> None:
    """Any change in its source counts."""
    (tmp_path / "a.py").write_text("x = 1\n")
    first = version_of(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert version_of(tmp_path) != first
