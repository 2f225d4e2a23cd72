import pytest

from skerry import signals
from skerry.errors import MigrationError
from skerry.store import migrate
from skerry.store.migrations import read
from skerry.testing import run_virtual


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.removeprefix('v')}.sql").write_text(text)
    return folder


def statements(tmp_path, text):
    return list(read(write(tmp_path / "sql", v0001_a=text))[0].statements)


def test_files_are_applied_once_in_order(opened, tmp_path):
    """Each file is applied once, in the order of the versions, and each is announced."""
    folder = write(
        tmp_path / "sql",
        v0002_fill="INSERT INTO a VALUES (2);",
        v0001_begin="CREATE TABLE a (n);\nINSERT INTO a VALUES (1);",
    )
    (folder / "README.md").write_text("left alone")
    announced = []
    unsubscribe = signals.subscribe(announced.append)

    async def main(clock):
        async with opened() as database:
            assert await migrate(database, "shop", folder) == ["0001", "0002"]
            assert await migrate(database, "shop", folder) == []
            write(folder, v0003_more="INSERT INTO a VALUES (3);")
            assert await migrate(database, "shop", folder) == ["0003"]
            assert [row[0] for row in await database.fetch_all("SELECT n FROM a")] == [1, 2, 3]

    run_virtual(main)
    unsubscribe()
    assert [s.version for s in announced if isinstance(s, signals.MigrationApplied)] == ["0001", "0002", "0003"]


def test_a_changed_file_is_refused(opened, tmp_path):
    """A file that was applied must not change."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            await migrate(database, "shop", folder)
            write(folder, v0001_a="CREATE TABLE a (n, m);")
            with pytest.raises(MigrationError, match=r"0001_a.sql was changed"):
                await migrate(database, "shop", folder)

    run_virtual(main)


def test_a_failing_statement_rolls_its_file_back(opened, tmp_path):
    """A failing statement takes its whole file back, keeps the files before it, and is named; the next try starts there."""
    folder = write(
        tmp_path / "sql", v0001_a="CREATE TABLE a (n);", v0002_b="CREATE TABLE b (n);\nINSERT INTO c VALUES (1);"
    )

    async def main(clock):
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0002_b.sql: no such table: c"):
                await migrate(database, "shop", folder)
            tables = await database.fetch_all("SELECT name FROM sqlite_master WHERE name IN ('a', 'b')")
            assert [row[0] for row in tables] == ["a"]
            write(folder, v0002_b="CREATE TABLE b (n);")
            assert await migrate(database, "shop", folder) == ["0002"]

    run_virtual(main)


def test_a_file_cannot_commit_half_of_itself(opened, tmp_path):
    """A COMMIT inside a file is refused by the statement after it, which names the file."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);\nCOMMIT;\nCREATE TABLE b (n);")

    async def main(clock):
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0001_a.sql: the transaction was ended"):
                await migrate(database, "shop", folder)
            assert await database.fetch_all("SELECT name FROM sqlite_master WHERE name = 'b'") == []

    run_virtual(main)


def test_a_database_ahead_of_the_code_is_fine(opened, tmp_path):
    """The last release runs beside a newer schema: versions it does not know are left alone."""
    newer = write(tmp_path / "newer", v0001_a="CREATE TABLE a (n);", v0002_b="CREATE TABLE b (n);")
    older = write(tmp_path / "older", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            await migrate(database, "shop", newer)
            assert await migrate(database, "shop", older) == []

    run_virtual(main)


def test_components_do_not_share_versions(opened, tmp_path):
    """Two components in one database each count their own versions."""
    first = write(tmp_path / "first", v0001_a="CREATE TABLE a (n);")
    second = write(tmp_path / "second", v0001_b="CREATE TABLE b (n);")

    async def main(clock):
        async with opened() as database:
            assert await migrate(database, "one", first) == ["0001"]
            assert await migrate(database, "two", second) == ["0001"]

    run_virtual(main)


def test_two_files_of_one_version_are_refused(tmp_path):
    """Two files with the same version are refused by name."""
    with pytest.raises(MigrationError, match=r"0001_b.sql and 0001_a.sql have the same version"):
        read(write(tmp_path / "sql", v0001_a="SELECT 1;", v0001_b="SELECT 1;"))


def test_names_and_folders_are_checked(tmp_path):
    """A wrongly named file, an empty folder and a missing one are refused."""
    with pytest.raises(MigrationError, match="NNNN_name"):
        read(write(tmp_path / "sql", first="SELECT 1;"))
    with pytest.raises(MigrationError, match="no migrations"):
        read(write(tmp_path / "empty"))
    with pytest.raises(MigrationError, match="no folder"):
        read(tmp_path / "missing")


def test_semicolons_inside_a_statement_do_not_cut_it(tmp_path):
    """Strings, comments and trigger bodies keep their semicolons; statements may share a line."""
    trigger = "CREATE TRIGGER x AFTER INSERT ON a BEGIN UPDATE a SET n = 1; DELETE FROM a; END;"
    text = f"-- one; two\nINSERT INTO a VALUES ('x; y'); SELECT 1; -- three;\n/* four; */ {trigger}\n-- five; six"
    found = statements(tmp_path, text)
    assert [part.rpartition("\n")[2] for part in found] == [
        "INSERT INTO a VALUES ('x; y');",
        "SELECT 1;",
        f"/* four; */ {trigger}",
    ]


@pytest.mark.parametrize("text", ["SELECT 1;\n-- done", "SELECT 1;\n/* done\n; */\n"])
def test_a_comment_may_come_last(tmp_path, text):
    """A comment after the last statement is no statement."""
    assert statements(tmp_path, text) == ["SELECT 1;"]


@pytest.mark.parametrize(
    "text", ["SELECT 1", "SELECT 1;\nSELECT ';'", "CREATE TRIGGER x AFTER INSERT ON a BEGIN SELECT 1;"]
)
def test_a_missing_last_semicolon_is_named(tmp_path, text):
    """A last statement without its semicolon is refused rather than left out."""
    with pytest.raises(MigrationError, match="does not end with a semicolon"):
        statements(tmp_path, text)
