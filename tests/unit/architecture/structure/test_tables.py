"""Tables, and where they are read and written."""

from __future__ import annotations

import pytest

from skerry.architecture.code.extract import extract

from .reading import code


@pytest.mark.parametrize(
    ("text", "table", "keys"),
    [
        ('class A(Base):\n    __tablename__ = "a"\n    b = Column(ForeignKey("b.id"))', "a", ["b"]),
        ('class A(Base):\n    __tablename__ = "a"\n    b: Mapped[int] = mapped_column(ForeignKey("b.id"))', "a", ["b"]),
        ('from sqlalchemy import Table\nt = Table("a", m, Column("b", ForeignKey("x.b.id")))', "a", ["x.b"]),
        ('from alembic import op\nop.create_table("a", sa.ForeignKeyConstraint(["b"], ["b.id"]))', "a", ["b"]),
        (
            'from django.db import models\nclass A(models.Model):\n    b = models.ForeignKey("shop.B", 1)',
            "shop_a",
            ["shop_b"],
        ),
        ('import sqlite3\ndb.execute("CREATE TABLE a (b INT REFERENCES b(id))")', "a", ["b"]),
    ],
)
def test_tables_of_each_library(text: str, table: str, keys: list[str]) -> None:
    """The name, by what the framework makes of a class where nothing is said, and what it refers to."""
    (found,) = code(shop__models=text).tables
    assert (found.name, [key.table for key in found.keys]) == (table, keys)


def test_a_key_to_a_class_in_another_file_is_a_key_to_its_table() -> None:
    """Followed over the import."""
    one = "from django.db import models\nclass B(models.Model):\n    n = models.IntegerField()"
    two = "from django.db import models\nfrom one.models import B\nclass A(models.Model):\n    b = models.ForeignKey(B, 1)"
    found = {each.name: each for each in code(one__models=one, two__models=two).tables}
    assert [key.table for key in found["two_a"].keys] == ["one_b"]


def test_serializers_and_forms_are_no_tables() -> None:
    """Fields alone do not make a model."""
    assert code(app="class A(serializers.Serializer):\n    n = serializers.CharField()").tables == ()


@pytest.mark.parametrize(
    ("statement", "uses"),
    [
        ("INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = 2", [("a", True)]),
        ("UPDATE a SET x = 1", [("a", True)]),
        ("DELETE FROM a WHERE x = 1", [("a", True)]),
        ("SELECT * FROM a JOIN s.b ON 1=1", [("a", False), ("s.b", False)]),
        ("SELECT * FROM a FOR UPDATE", [("a", False)]),
        ("WITH c AS (SELECT 1 FROM a) SELECT * FROM c", [("a", False)]),
        ("INSERT INTO a SELECT * FROM b", [("a", True), ("b", False)]),
        ("Select one from the list", []),
        ("Updates come from time to time", []),
    ],
)
def test_statements_name_the_tables_that_they_use(statement: str, uses: list[tuple[str, bool]]) -> None:
    """What is written and what is read; names of common table expressions and plain English are none."""
    assert [(each.table, each.writes) for each in code(app=f"db.execute({statement!r})").uses] == uses


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("session.add(A(n=1))", True),
        ("session.query(A).all()", False),
        ("session.execute(select(A))", False),
        ("session.execute(update(A).values(n=1))", True),
        ("A.query.filter_by(n=1).first()", False),
        ("A.objects.filter(n=1).update(n=2)", True),
        ("A.objects.get(n=1)", False),
        ("A(n=1).save()", True),
    ],
)
def test_a_model_is_used_as_its_table(line: str, writes: bool) -> None:
    """By SQLAlchemy's session and statements, Flask's queries, and Django's managers, in another file than the model."""
    model = 'class A(Base):\n    __tablename__ = "a"\n    n = Column(Integer)'
    found = code(
        models=model, app=f"from models import A\nfrom sqlalchemy import select, update\ndef f():\n    {line}"
    ).uses
    assert {(each.table, each.writes, each.function) for each in found} == {("a", writes, "f")}


@pytest.mark.parametrize(
    ("line", "writes"), [("db.a.insert_one({})", True), ('db["a"].find({})', False), ("c.find_one()", False)]
)
def test_collections_are_tables(line: str, writes: bool) -> None:
    """By attribute, by key, and through a name."""
    found = code(app=f'import pymongo\ndb = pymongo.MongoClient().shop\nc = db["a"]\n{line}').uses
    assert [(each.table, each.writes) for each in found] == [("a", writes)]


def test_a_file_of_sql_makes_tables() -> None:
    """Keys in the table and keys that are added later, at their lines; comments are none."""
    text = b"-- CREATE TABLE no (x int);\nCREATE TABLE a (x int);\nALTER TABLE a\n  ADD FOREIGN KEY (x) REFERENCES b (id);\n"
    found = extract("m/1.sql", text).structure.tables
    assert [(each.name, each.place.line, [(key.table, key.place.line) for key in each.keys]) for each in found] == [
        ("a", 2, []),
        ("a", 3, [("b", 4)]),
    ]


def test_an_app_with_a_label_calls_its_tables_by_it() -> None:
    """Whatever its folder is called."""
    apps = "from django.apps import AppConfig\nclass C(AppConfig):\n    name = 'shop'\n    label = 'store'"
    model = "from django.db import models\nclass A(models.Model):\n    n = models.IntegerField()"
    assert [each.name for each in code(shop__apps=apps, shop__models=model).tables] == ["store_a"]


def test_tables_that_are_no_classes_are_written_by_their_methods() -> None:
    """`orders.insert()` of a table that this file, another file or the instance holds."""
    table = "Table('orders', metadata, Column('id', Integer))"
    made = f"from sqlalchemy import Table, Column, Integer\norders = {table}\n"
    found = code(
        shop____init__="",
        shop__db=made,
        shop__app="from .db import orders\ndef add(c):\n    c.execute(orders.insert().values(a=1))\n",
        shop__own=f"from sqlalchemy import Table\nclass Store:\n    def __init__(self):\n        self.mine = {table}\n"
        "    def all(self):\n        return self.mine.select()\n",
    ).uses
    assert [(each.table, each.writes) for each in found] == [("orders", True), ("orders", False)]


def test_a_dictionary_from_another_file_is_no_table() -> None:
    """It has an `update` too."""
    found = code(shop____init__="", shop__db="known = {}\n", shop__app="from .db import known\nknown.update(a=1)\n")
    assert found.uses == ()


def test_a_function_that_is_selected_from_is_no_table() -> None:
    """Neither whole nor without its last letter."""
    found = code(
        app="def f(c):\n    c.execute('SELECT x FROM generate_series(1, 3) AS g JOIN orders ON x = id')\n"
    ).uses
    assert [each.table for each in found] == ["orders"]
