"""What a fact table may look like, what its columns are to ClickHouse, and what is said when the engine is not installed."""

import sys
from datetime import date, datetime

import pytest

from skerry.errors import ConfigurationError, MissingExtra
from skerry.store.analytics import FactTable, connect, dialect

COLUMNS = {"id": str, "day": date}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Sales"}, "lower case letters"),
        ({"name": "skerry_owner"}, "not skerry_"),
        ({"name": "x" * 64}, "at most 63"),
        ({"name": "sales; DROP"}, "lower case letters"),
        ({"columns": {"id": str, "a`b": int}}, "lower case letters"),
        ({"columns": {}}, "has 0 columns"),
        ({"columns": {f"c{n}": int for n in range(201)}}, "has 201 columns"),
        ({"columns": {"id": str, "data": dict}}, "the column 'data' is none of str, int, float, bool, date, datetime"),
        ({"columns": {"id": "String"}}, "the column 'id' is none of"),
        ({"key": ()}, "needs a key"),
        ({"key": ("nobody",)}, "has no column 'nobody'"),
        ({"order_by": ("nobody",)}, "has no column 'nobody'"),
    ],
)
def test_a_table_that_cannot_be_is_refused(options, message):
    """The error comes where it is declared, and names the table."""
    with pytest.raises(ConfigurationError, match=message) as refused:
        FactTable(**{"name": "sales", "columns": COLUMNS, "key": ("id",), **options})
    assert str(refused.value).startswith("the fact table ")


def test_rows_lie_by_what_is_searched_for_and_count_once_by_their_key():
    """`order_by` comes first on disk, then the key; each column stands once."""
    table = FactTable(
        name="sales",
        columns={"id": str, "n": int, "share": float, "gift": bool, "day": date, "at": datetime},
        key=("id", "day"),
        order_by=("day", "n"),
    )
    assert table.sorting == ("day", "n", "id")
    made = dialect.create(table)
    assert made.startswith(
        "CREATE TABLE IF NOT EXISTS sales (id String, n Int64, share Float64, gift Bool, day Date32, "
        "at DateTime64(6, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY (day, n, id)"
    )
    assert "fsync_after_insert = 1" in made


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [("chdb", "chdb:///facts/", "chdb"), ("clickhouse_connect", "clickhouse://host/db", "clickhouse")],
)
def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch, tmp_path, module, url, extra):
    """The address is what asks for it; until then nothing of it is imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("chdb", "clickhouse"):
        monkeypatch.delitem(sys.modules, f"skerry.store.analytics.{name}", raising=False)
    with pytest.raises(MissingExtra, match=rf"pip install 'skerry\[{extra}\]'"):
        connect(url, owner="analytics", data=tmp_path)
