import asyncio

import pytest

from skerry import signals
from skerry.errors import MigrationError, StoreBusy
from skerry.store import demand_schema, migrate, schema_status
from skerry.store.sqlfiles import read
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
    """A COMMIT inside a file is refused before anything happens; one that is not recognised, by the statement after it."""

    async def main(clock):
        async with opened() as database:
            for number, (end, error) in enumerate(
                (("COMMIT", "take COMMIT away"), ("/* done */ Rollback", "take Rollback away"), ("END", "was ended"))
            ):
                text = f"CREATE TABLE a{number} (n);\n{end};\nCREATE TABLE b (n);"
                with pytest.raises(MigrationError, match=rf"0001_a.sql: .*{error}"):
                    await migrate(database, "shop", write(tmp_path / "sql", v0001_a=text))
            tables = await database.fetch_all("SELECT name FROM sqlite_master WHERE name IN ('a0', 'a1', 'b')")
            assert tables == []

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


# --- before and after the deploy


def names(database):
    """What the files of a test have put into the table `log`, in order."""
    return database.fetch_all("SELECT name FROM log ORDER BY rowid")


def logs(folder, **files):
    """Files that each put a word into the table `log`, which `0001` makes."""
    begin = {"v0001_begin": "CREATE TABLE log (name);"}
    return write(folder, **begin, **{name: f"INSERT INTO log VALUES ('{text}');" for name, text in files.items()})


def test_files_for_after_the_deploy_wait_until_they_are_asked_for(opened, tmp_path):
    """Once a component is in use, `post` files are left and announced; with `after` everything comes, in its order."""
    folder = logs(tmp_path / "sql")
    heard = []
    unsubscribe = signals.subscribe(heard.append)

    async def main(clock):
        async with opened() as database:
            assert await migrate(database, "shop", folder) == ["0001"]
            logs(folder, v0002_post_b="b", v0003_pre_c="c", v0004_d="d", v0005_post_e="e", v0006_posters="f")
            assert await migrate(database, "shop", folder) == ["0003", "0004", "0006"]
            assert await migrate(database, "shop", folder) == []
            assert await migrate(database, "shop", folder, after=True) == ["0002", "0005"]
            assert await migrate(database, "shop", folder, after=True) == []
            assert [row[0] for row in await names(database)] == ["c", "d", "f", "b", "e"]
            logs(folder, v0007_g="g", v0008_post_h="h", v0009_i="i")
            assert await migrate(database, "shop", folder, after=True) == ["0007", "0008", "0009"]

    run_virtual(main)
    unsubscribe()
    left = signals.MigrationsLeft(component="shop", count=2)
    assert [s for s in heard if isinstance(s, signals.MigrationsLeft)] == [left, left]


def test_a_new_component_gets_everything_in_order(opened, tmp_path):
    """Where nothing was applied nobody can be using the tables, so what a later file undoes or builds on is there in time."""
    folder = write(
        tmp_path / "sql",
        v0001_a="CREATE TABLE a (old);",
        v0002_post_b="ALTER TABLE a RENAME old TO renamed;",
        v0003_pre_c="ALTER TABLE a ADD old;",
    )

    async def main(clock):
        async with opened() as database:
            assert await migrate(database, "shop", folder) == ["0001", "0002", "0003"]
            await database.fetch_all("SELECT old, renamed FROM a")

    run_virtual(main)


def test_a_component_stays_new_until_its_first_files_are_all_there(opened, tmp_path):
    """Whoever goes on where the first run broke off applies everything too; from then on `post` files wait."""
    folder = write(
        tmp_path / "sql", v0001_a="CREATE TABLE a (n);", v0002_post_b="ALTER TABLE x ADD m;", v0003_c="SELECT 1;"
    )

    async def main(clock):
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0002_post_b\.sql"):
                await migrate(database, "shop", folder)
            assert (await schema_status(database, "shop", folder)).is_new
            write(folder, v0002_post_b="ALTER TABLE a ADD m;")
            assert await migrate(database, "shop", folder) == ["0002", "0003"]
            assert not (await schema_status(database, "shop", folder)).is_new
            write(folder, v0004_post_d="ALTER TABLE a DROP m;")
            assert await migrate(database, "shop", folder) == []

    run_virtual(main)


def test_a_release_that_needs_less_ends_that_a_component_is_new(opened, tmp_path):
    """Once a process works with what is there, the files for after the deploy wait, although the first run broke off."""
    newer = write(
        tmp_path / "newer", v0001_a="CREATE TABLE a (n);", v0002_b="SELECT * FROM x;", v0003_post_c="DROP TABLE a;"
    )
    older = write(tmp_path / "older", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0002_b\.sql"):
                await migrate(database, "shop", newer)
            assert await migrate(database, "shop", older) == []
            write(newer, v0002_b="SELECT 1;")
            assert await migrate(database, "shop", newer) == ["0002"]

    run_virtual(main)


def test_a_file_that_builds_on_one_that_was_left_says_so(opened, tmp_path):
    """The error of a file names the earlier one that waits for after the deploy."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            await migrate(database, "shop", folder)
            write(folder, v0002_post_b="ALTER TABLE a ADD m;", v0003_c="UPDATE a SET m = 1;")
            with pytest.raises(
                MigrationError, match=r"0003_c.sql: no such column: m; 0002_post_b.sql was left .*--after"
            ):
                await migrate(database, "shop", folder)

    run_virtual(main)


def test_what_is_there_is_demanded_without_changing_anything(opened, tmp_path):
    """A process that must not migrate finds what lacks, by its file, and the command; `post` files may lack."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0001_a.sql of shop was not applied .*`skerry db migrate order`"):
                await demand_schema(database, "shop", folder)
            assert await database.fetch_all("SELECT name FROM sqlite_master WHERE name = 'skerry_migrations'") == []
            await migrate(database, "shop", folder)
            write(folder, v0002_post_b="DROP TABLE a;")
            await demand_schema(database, "shop", folder)
            write(folder, v0003_c="SELECT 1;")
            with pytest.raises(MigrationError, match=r"0003_c\.sql"):
                await demand_schema(database, "shop", folder)
            write(folder, v0001_a="CREATE TABLE a (n, m);")
            with pytest.raises(MigrationError, match=r"0001_a.sql was changed"):
                await demand_schema(database, "shop", folder)

    run_virtual(main)


# --- beside others


def test_a_file_waits_for_whoever_writes_and_is_tried_again(opened, tmp_path):
    """While the writer is taken a file is tried again, and says so; nothing else is kept from writing in between."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")
    heard = []
    unsubscribe = signals.subscribe(heard.append)

    async def main(clock):
        async with opened() as database:

            async def write_for(seconds):
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
                    await clock.sleep(seconds)

            await migrate(database, "shop", folder)
            write(folder, v0002_b="CREATE TABLE b (n);")
            writing = asyncio.create_task(write_for(25.0))
            await clock.sleep(0.0)
            assert await migrate(database, "shop", folder) == ["0002"]
            assert writing.done()
            await writing

    run_virtual(main)
    unsubscribe()
    delays = [s.delay for s in heard if isinstance(s, signals.MigrationDelayed)]
    assert delays == [0.5, 1.0]


def test_a_file_does_not_wait_for_ever(opened, tmp_path):
    """After `wait` seconds the error names file and service, and the next call does it."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened(clock=clock) as database:
            await migrate(database, "shop", folder)
            write(folder, v0002_b="CREATE TABLE b (n);")
            async with asyncio.TaskGroup() as group:
                done = asyncio.Event()

                async def hold():
                    async with database.transaction():
                        await done.wait()

                group.create_task(hold())
                await clock.sleep(0.0)
                with pytest.raises(StoreBusy, match=r"0002_b.sql waited 15 s .* order; nothing of it was applied"):
                    await migrate(database, "shop", folder, wait=15.0)
                done.set()
            assert await migrate(database, "shop", folder) == ["0002"]

    run_virtual(main)


def test_nobody_waits_for_ever_for_another_that_migrates(opened, tmp_path):
    """While one process migrates the others wait in line, without a transaction, at most so long."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def main(clock):
        async with opened() as database:
            async with database.lead("migrations"):
                with pytest.raises(StoreBusy, match=r"another process has migrated .* order for more than 60 s"):
                    await migrate(database, "shop", folder)
            assert await migrate(database, "shop", folder) == ["0001"]
            async with database.lead("migrations"):
                assert await migrate(database, "shop", folder) == []  # nothing to do asks nobody

    run_virtual(main)


# --- what a file says


CONCURRENTLY = "-- skerry: no transaction\nCREATE {}INDEX CONCURRENTLY {}a_n ON a (n);"


def only(tmp_path, text, dialect="postgresql"):
    return read(write(tmp_path / "sql", v0001_a=text), dialect)[0]


def test_postgresql_may_run_a_file_outside_a_transaction(tmp_path):
    """A line at its top says so; only a comment of its own line counts, and the index that is made is known."""
    for made in ("CREATE INDEX", "create  unique index"):
        text = f"-- for a table in use\n-- skerry: no transaction\n{made} CONCURRENTLY if not  exists a_n ON a (n);\n-- done"
        found = only(tmp_path, text)
        assert (found.alone, found.index, found.statements) == (True, "a_n", (text,))
    assert (
        only(tmp_path, '--skerry: no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS "A" ON a (n)').index == '"A"'
    )
    assert only(tmp_path, "-- skerry: no transaction\nREINDEX INDEX CONCURRENTLY a_n;").index == ""
    assert only(tmp_path, "-- skerry: no transaction\nDROP INDEX CONCURRENTLY IF EXISTS a_n;").index == ""
    assert not only(tmp_path, "SELECT 1; -- skerry: no transaction\nSELECT '-- skerry: no transaction';").alone


@pytest.mark.parametrize(
    ("text", "dialect", "why"),
    [
        (CONCURRENTLY.format("", ""), "postgresql", "IF NOT EXISTS"),
        (CONCURRENTLY.format("UNIQUE ", ""), "postgresql", "IF NOT EXISTS"),
        ("-- skerry: no transaction\nDROP INDEX CONCURRENTLY a_n;", "postgresql", "IF EXISTS"),
        (CONCURRENTLY.format("", "IF NOT EXISTS ") + "\nSELECT 1;", "postgresql", "one statement"),
        ("-- skerry: no transaction\n", "postgresql", "one statement"),
        ("-- skerry: no transaction\nVACUUM;", "sqlite", "SQLite runs every file in a transaction"),
        ("CREATE TABLE a (n INT);\nCOMMIT;\nSELECT 1;", "postgresql", "take COMMIT away"),
        ("begin;\nSELECT 1;", "postgresql", "take begin away"),
    ],
)
def test_what_could_be_left_half_done_is_refused(tmp_path, text, dialect, why):
    """A file that a crash could leave in between, or that could not be run again, is refused by name when it is read."""
    with pytest.raises(MigrationError, match=rf"0001_a.sql: .*{why}"):
        only(tmp_path, text, dialect)


def test_bodies_of_functions_keep_their_words(tmp_path):
    """What stands between dollar signs, in strings and comments ends no transaction and breaks nothing."""
    text = (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $x$ BEGIN DROP TABLE a; COMMIT; END $x$;\n"
        "INSERT INTO a VALUES ('it''s; COMMIT; DROP TABLE a'); -- DROP TABLE a; COMMIT;\n/* RENAME; ROLLBACK; */ SELECT 1;"
    )
    assert only(tmp_path, text).breaks == ()


@pytest.mark.parametrize(
    ("text", "breaks"),
    [
        ("CREATE TABLE a (n INTEGER NOT NULL);", ()),
        ("CREATE INDEX i ON a (n);\nINSERT INTO a VALUES (1);", ()),
        ("ALTER TABLE a ADD COLUMN m INTEGER;", ()),
        ("ALTER TABLE a ADD m INTEGER NOT NULL DEFAULT 0;", ()),
        ("ALTER TABLE a ADD m NUMERIC(3, 2) NOT NULL DEFAULT 0, ADD k INT;", ()),
        ("ALTER TABLE a ADD m BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL;", ()),
        ("ALTER TABLE a ALTER COLUMN m DROP NOT NULL;", ()),
        ("DROP TABLE a;", ("DROP TABLE",)),
        ("drop  index i;", ("DROP INDEX",)),
        ("ALTER TABLE a DROP COLUMN m;", ("DROP COLUMN",)),
        ("ALTER TABLE a DROP CONSTRAINT c;", ("DROP CONSTRAINT",)),
        ("ALTER TABLE a ALTER m DROP DEFAULT;", ("DROP DEFAULT",)),
        ("ALTER TABLE a RENAME TO b;", ("RENAME",)),
        ("ALTER TABLE a RENAME COLUMN m TO n;", ("RENAME",)),
        ("ALTER TABLE a ALTER COLUMN m TYPE BIGINT;", ("another TYPE",)),
        ('ALTER TABLE a ALTER "m" SET DATA TYPE text;', ("another TYPE",)),
        ("ALTER TABLE a ALTER m SET NOT NULL;", ("SET NOT NULL",)),
        ("ALTER TABLE a ADD m INTEGER NOT NULL;", ("NOT NULL without DEFAULT",)),
        ("ALTER TABLE a ADD k INT DEFAULT 1, ADD COLUMN m NUMERIC(3, 2) NOT NULL;", ("NOT NULL without DEFAULT",)),
        ("ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0);", ("ADD CONSTRAINT",)),
        ("ALTER TABLE a DROP COLUMN m;\nALTER TABLE a RENAME n TO m;", ("DROP COLUMN", "RENAME")),
        ("-- skerry: safe, nothing has read it since release 7\nDROP TABLE a;", ()),
        ("DROP TABLE a;\n-- skerry: safe because it was never used", ()),
        ("-- skerry: safe\nDROP TABLE a;", ("DROP TABLE",)),
        ("-- skerry: safety first\nDROP TABLE a;", ("DROP TABLE",)),
    ],
)
def test_what_breaks_older_code_is_found(tmp_path, text, breaks):
    """What takes away, renames or narrows is told, on both engines, unless the file says why it is harmless."""
    for dialect in ("sqlite", "postgresql"):
        assert only(tmp_path, text, dialect).breaks == breaks
