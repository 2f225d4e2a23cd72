"""Migrations of skerry's own tables: released ones stay as they are, and those for before a deploy break no released code."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from skerry.store import Dialect, Migration
from skerry.store.sqlfiles import read

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"
RELEASES = sorted((ROOT / "tests" / "upgrade").glob("skerry-*.whl"))
FOLDERS = sorted({file.parent for file in SOURCE.rglob("sql/migrations/*/*.sql")})


def released(wheel: Path) -> dict[str, dict[str, bytes]]:
    """Package and engine to the files of a release; the first one kept them under the engine's name."""
    found: dict[str, dict[str, bytes]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            *folders, file = name.split("/")
            if (
                file.endswith(".sql")
                and "migrations" in folders
                and folders[0] == "skerry"
                and "_examples" not in folders
            ):
                engine = next(each for each in folders if each in {"sqlite", "postgresql"})
                found.setdefault(f"{folders[1]}/{engine}", {})[file] = archive.read(name)
    return found


def kept(where: str) -> Path:
    package, engine = where.split("/")
    return SOURCE / "skerry" / package / "sql" / "migrations" / engine


def differences(files: dict[str, bytes], folder: Path) -> list[str]:
    """Which released files are gone or are not what they were."""
    return [
        name
        for name, content in files.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]


def offences(folder: Path, engine: Dialect) -> list[str]:
    """Files that are called neither pre nor post, and those for before a deploy that break older code."""

    def offends(each: Migration) -> bool:
        unnamed = not each.file[5:].startswith(("pre_", "post_"))
        return unnamed or (each.phase == "before" and bool(each.breaks))

    return [f"{each.file}: {', '.join(each.breaks)}" for each in read(folder, engine) if offends(each)]


@pytest.mark.parametrize("wheel", RELEASES, ids=lambda wheel: wheel.name)
def test_a_released_migration_never_changes(wheel: Path) -> None:
    """Each file of each release is there as it was: its checksum is in users' databases."""
    assert released(wheel)
    for where, files in released(wheel).items():
        assert differences(files, kept(where)) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(SOURCE)))
def test_what_comes_before_a_deploy_breaks_no_released_code(folder: Path) -> None:
    """A `pre` file takes nothing away, renames and narrows nothing, unless it says why that is harmless."""
    assert offences(folder, "sqlite" if folder.name == "sqlite" else "postgresql") == []


def test_both_engines_know_the_same_kinds_of_files() -> None:
    """The gates look at something: there is a release, and there are folders for both engines."""
    assert RELEASES
    assert {folder.name for folder in FOLDERS} == {"sqlite", "postgresql"}


def test_the_gates_can_fail(tmp_path: Path) -> None:
    """A changed file, a lost one, a destructive one and one without `pre` or `post` are found."""
    folder = tmp_path / "sqlite"
    folder.mkdir()
    for name, text in (
        ("0001_pre_a", "CREATE TABLE a (n);"),
        ("0002_pre_b", "ALTER TABLE a RENAME TO b;"),
        ("0003_post_c", "DROP TABLE b;"),
        ("0004_d", "SELECT 1;"),
        ("0005_pre_e", "-- skerry: safe, nobody had it\nDROP TABLE x;"),
    ):
        (folder / f"{name}.sql").write_text(text)
    assert offences(tmp_path, "sqlite") == ["0002_pre_b.sql: RENAME", "0004_d.sql: "]
    before = {"0001_pre_a.sql": b"CREATE TABLE a (n);", "0002_pre_b.sql": b"", "0009_pre_z.sql": b""}
    assert differences(before, folder) == ["0002_pre_b.sql", "0009_pre_z.sql"]
