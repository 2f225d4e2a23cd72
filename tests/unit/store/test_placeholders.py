import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError
from skerry.store import Queries, Statement
from skerry.store.placeholders import translate
from skerry.store.queries import words


@pytest.mark.parametrize(
    ("sql", "numeric", "formatted", "values"),
    [
        ("SELECT ?, ?", "SELECT $1, $2", "SELECT %s, %s", (1, 2)),
        ("SELECT ?2, ?1, ?2", "SELECT $2, $1, $2", "SELECT %s, %s, %s", (2, 1, 2)),
        ("SELECT '?', \"?\", ?", "SELECT '?', \"?\", $1", "SELECT '?', \"?\", %s", (1,)),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1", "SELECT 'it''s ?', %s", (1,)),
        ("SELECT ? -- why?\n, ?", "SELECT $1 -- why?\n, $2", "SELECT %s -- why?\n, %s", (1, 2)),
        ("SELECT ? /* ? */", "SELECT $1 /* ? */", "SELECT %s /* ? */", (1,)),
        ("SELECT $$?$$, $x$ ? $x$, ?", "SELECT $$?$$, $x$ ? $x$, $1", "SELECT $$?$$, $x$ ? $x$, %s", (1,)),
        ("SELECT data ?? 'a', ?", "SELECT data ? 'a', $1", "SELECT data ? 'a', %s", (1,)),
        ("SELECT 10 % 3, '%', ?", "SELECT 10 % 3, '%', $1", "SELECT 10 %% 3, '%%', %s", (1,)),
    ],
)
def test_placeholders_become_those_of_the_driver(sql, numeric, formatted, values):
    """Strings, names, comments and dollar quotes keep their question marks; a value may stand in several places."""
    given_values = tuple(range(1, len(set(values)) + 1))
    assert translate(sql, given_values, "numeric") == (numeric, given_values)
    assert translate(sql, given_values, "format") == (formatted, values)
    asked, ordered = translate(sql, given_values, "qmark")
    assert (asked.count("?"), ordered) == (translate(asked, ordered, "qmark")[0].count("?"), values)


@given(st.lists(st.sampled_from(["?", "?1", "?2", "'a?b'", '"x?"', "1", "/*?*/ 2", "'%'"]), min_size=1, max_size=12))
def test_a_translated_query_answers_as_sqlite_does(parts):
    """Whatever is written, the values end up where SQLite puts them."""
    parts = [part for part in parts if part != '"x?"']
    numbered = any(part in {"?1", "?2"} for part in parts)
    parts = [part for part in parts if not (numbered and part == "?")] or ["1"]
    parts += ["?1"] if numbered and "?1" not in parts else []
    sql = f"SELECT {', '.join(parts)}"
    count = 2 if numbered else parts.count("?")
    values = tuple(f"v{n}" for n in range(count))
    if numbered and "?2" not in parts:
        values = values[:1]
    by_name = {str(n): value for n, value in enumerate(values, 1)}
    with closing(sqlite3.connect(":memory:")) as connection:
        expected = connection.execute(sql, by_name if numbered else values).fetchone()
        text, ordered = translate(sql, values, "format")
        back = text.replace("%s", "?").replace("%%", "%")
        assert connection.execute(back, ordered).fetchone() == expected
        assert connection.execute(*translate(sql, values, "qmark")).fetchone() == expected


def test_a_statement_speaks_each_engine(tmp_path, monkeypatch):
    """The heading says for which engine a text is; without one for an engine the common text stands."""
    package = tmp_path / "own_sql"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.sql").write_text(
        "-- why\n-- name: both\nSELECT 1;\n\n-- name: own\nSELECT 2;\n-- name: own (postgresql)\nSELECT 3;\n"
        "-- name: only (postgresql)\nSELECT 4;\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    queries = Queries("own_sql", "a.sql")
    found = {
        name: (words(queries[name], "sqlite"), words(queries[name], "postgresql")) for name in ("both", "own", "only")
    }
    assert found == {"both": ("SELECT 1",) * 2, "own": ("SELECT 2", "SELECT 3"), "only": ("", "SELECT 4")}
    assert isinstance(queries["both"], Statement)
    assert words("SELECT 5", "postgresql") == "SELECT 5"
    with pytest.raises(KeyError, match=r"own_sql/a.sql has no statement 'none'"):
        queries["none"]
    (package / "b.sql").write_text("-- name: Bad Name\nSELECT 1;\n")
    with pytest.raises(ConfigurationError, match="'Bad Name' is no heading"):
        Queries("own_sql", "b.sql")
