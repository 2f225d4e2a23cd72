"""A work tree as files, whatever else is in it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from skerry.architecture.source import Limits, Unreadable
from skerry.architecture.source.tree import Tree


def put(root: Path, *paths: str, text: str = "x = 1\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def why(tree: Tree) -> dict[str, str]:
    return {each.file: each.why for each in tree.skipped}


def test_files_are_listed_in_order_with_their_sizes(tmp_path: Path) -> None:
    """Paths are relative, with `/`, sorted; contents are as they stand."""
    put(tmp_path, "b.py", "a/z.py", "a/b/c.py")
    with Tree(tmp_path) as tree:
        assert list(tree.sizes.items()) == [("a/b/c.py", 6), ("a/z.py", 6), ("b.py", 6)]
        assert tree.read("a/z.py") == b"x = 1\n"
        assert tree.skipped == ()


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    """A file, or nothing, is no tree."""
    put(tmp_path, "a.py")
    for name in ("a.py", "nothing"):
        with pytest.raises(Unreadable, match=name):
            Tree(tmp_path / name)


def test_links_fifos_and_sockets_are_named_and_left_alone(tmp_path: Path) -> None:
    """Whatever is not a regular file is neither listed, followed nor opened."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    put(outside, "secret.py")
    root.mkdir()
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "fifo.py")
    there = socket.socket(socket.AF_UNIX)
    there.bind(os.fspath(root / "s.py"))
    with there, Tree(root) as tree:
        assert tree.sizes == {}
        assert {name: text.split(",")[0] for name, text in why(tree).items()} == {
            "fifo.py": "a FIFO",
            "folder": "a link",
            "link.py": "a link",
            "loop": "a link",
            "s.py": "a socket",
        }


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "gone"])
def test_a_file_that_becomes_something_else_is_unreadable(tmp_path: Path, kind: str) -> None:
    """What a name stood for when it was listed is not believed when it is read, and a FIFO does not hold the reader up."""
    put(tmp_path, "a.py", "b.py")
    with Tree(tmp_path) as tree:
        file = tmp_path / "a.py"
        file.unlink()
        if kind == "link":
            file.symlink_to(tmp_path / "b.py")
        elif kind == "fifo":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        with pytest.raises(Unreadable, match=r"a\.py"):
            tree.read("a.py")


def test_a_folder_that_becomes_a_link_is_not_entered(tmp_path: Path) -> None:
    """Every folder on the way to a file is opened without following links, each time."""
    put(tmp_path, "root/a/b.py", "outside/b.py")
    with Tree(tmp_path / "root") as tree:
        (tmp_path / "root/a").rename(tmp_path / "root/old")
        (tmp_path / "root/a").symlink_to(tmp_path / "outside")
        with pytest.raises(Unreadable, match=r"a/b\.py"):
            tree.read("a/b.py")


def test_only_what_was_listed_can_be_read(tmp_path: Path) -> None:
    """A path that leads out of the tree is no file of it."""
    put(tmp_path, "root/a.py", "b.py")
    with Tree(tmp_path / "root") as tree:
        for path in ("../b.py", os.fspath(tmp_path / "b.py"), "a.py/", ""):
            with pytest.raises(Unreadable):
                tree.read(path)


def test_each_limit_leaves_a_reason(tmp_path: Path) -> None:
    """Too large, too many, too deep: each is left out and named."""
    put(tmp_path, "a.py", "b.py", "c/d/e.py", "f.py", "g.py")
    put(tmp_path, "large.py", text="x" * 100)
    with Tree(tmp_path, limits=Limits(files=4, file_size=50)) as tree:
        assert list(tree.sizes) == ["a.py", "b.py", "c/d/e.py", "f.py"]
        assert why(tree) == {"g.py": "more than 4 files", "large.py": "larger than 50 bytes"}
    with Tree(tmp_path, limits=Limits(file_size=50, depth=1)) as tree:
        assert list(tree.sizes) == ["a.py", "b.py", "f.py", "g.py"]
        assert why(tree) == {"c/d/": "more than 1 folders deep", "large.py": "larger than 50 bytes"}


def test_names_have_a_limit_of_their_own(tmp_path: Path) -> None:
    """A folder of more names than twice the files that are read is listed to there, and named."""
    put(tmp_path, *(f"{i}.png" for i in range(10)))
    with Tree(tmp_path, limits=Limits(files=2)) as tree:
        assert len(tree.sizes) == 2
        assert why(tree)["./"] == "more names than are looked at"


def test_a_file_that_grows_is_read_to_its_limit(tmp_path: Path) -> None:
    """The limit holds for what is read, not for what the size was when it was listed."""
    put(tmp_path, "a.py")
    with Tree(tmp_path, limits=Limits(file_size=50)) as tree:
        put(tmp_path, "a.py", text="x" * 51)
        with pytest.raises(Unreadable, match="larger than 50 bytes"):
            tree.read("a.py")


def test_all_that_is_read_has_a_limit(tmp_path: Path) -> None:
    """Pictures that nobody reads do not count; what is read does."""
    put(tmp_path, "a.py", "b.py")
    put(tmp_path, "large.png", text="x" * 1_000)
    with Tree(tmp_path, limits=Limits(total_size=10)) as tree:
        assert list(tree.sizes) == ["a.py", "b.py", "large.png"]
        tree.read("a.py")
        with pytest.raises(Unreadable, match="more than 10 bytes were read"):
            tree.read("b.py")


def test_names_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A name that cannot be written out is left out, with a name that can."""
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    with Tree(tmp_path) as tree:
        assert tree.sizes == {}
        assert why(tree) == {"caf?.py": "its name is not text"}


def test_what_tools_put_there_is_no_source(tmp_path: Path) -> None:
    """Virtual environments under any name, caches and build output are left out; a package called `build` is not."""
    put(tmp_path, "mine/pyvenv.cfg", "mine/lib/a.py", "node_modules/a.py", ".git/hooks/a.py", "x/__pycache__/a.py")
    put(
        tmp_path,
        "build/lib/a.py",
        "build/bdist.linux/x",
        "dist/a.whl",
        "dist/a.py",
        "shop/build/a.py",
        "cache/CACHEDIR.TAG",
    )
    with Tree(tmp_path) as tree:
        assert list(tree.sizes) == ["shop/build/a.py"]


def test_a_closed_tree_reads_nothing(tmp_path: Path) -> None:
    """After `close` a read is refused, not misdirected to whatever got the number of the folder."""
    put(tmp_path, "a.py")
    tree = Tree(tmp_path)
    tree.close()
    tree.close()
    with pytest.raises(Unreadable, match="closed"):
        tree.read("a.py")
