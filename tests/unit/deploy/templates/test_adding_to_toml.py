"""Services are added to a skerry.toml as a person would do it: what stands there stays, character by character."""

from __future__ import annotations

import difflib
import tomllib

import pytest

from skerry.deploy.templates.toml_text import add_call, add_tables
from skerry.errors import ConfigurationError

TABLES = {
    ("topics", "shop.stock.added"): {"owner": "stock"},
    ("services", "stock"): {"app": "stock.app:service", "calls": ["a"]},
}


def removed(before: str, after: str) -> list[str]:
    """The lines that are not there any more."""
    told = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in told if line.startswith("-") and not line.startswith("---")]


@pytest.mark.parametrize(
    "text",
    [
        '[system]\nname = "x"\n',
        '# first\n[system] # here\nname = "x" # why\n\n[services.a]\n  app = "a:b"  # mine',
        '[services]\na.app = "a:b"\n\n[topics]\n"x.y" = { owner = "a" }\n\n\n',
        '[topics]\n"x.y" = { owner = "a" } # ours\n# the end\n',
        '[system]\nname = """\n[services.stock]\n"""\n',
    ],
)
def test_tables_come_at_the_end_and_nothing_else_changes(text: str) -> None:
    """Comments, order, spaces and ways of writing stay; what is read is what was meant."""
    added = add_tables(text, TABLES)
    assert removed(text.rstrip("\n"), added) == []
    read = tomllib.loads(added)
    assert read["services"]["stock"] == {"app": "stock.app:service", "calls": ["a"]}
    assert read["topics"]["shop.stock.added"] == {"owner": "stock"}


@pytest.mark.parametrize(
    "text", ['services = { a = { app = "a:b" } }\n', "topics = {}\n", '[services.stock]\napp = "mine:app"\n']
)
def test_a_file_that_tables_cannot_be_added_to_is_refused_with_the_lines(text: str) -> None:
    """An inline table is closed, and a table that is there is not made twice: the message says what to add by hand."""
    with pytest.raises(ConfigurationError, match="add it yourself") as refused:
        add_tables(text, TABLES)
    assert '[services.stock]\napp = "stock.app:service"' in str(refused.value)


CALLS = [
    ("calls = []", 'calls = ["stock"]'),
    ("calls = [ ]", 'calls = ["stock" ]'),
    ('calls = ["a"]', 'calls = ["a", "stock"]'),
    ('calls = ["a", ]', 'calls = ["a", "stock" ]'),
    ("calls = ['a]', \"b\"] # why", 'calls = [\'a]\', "b", "stock"] # why'),
    ('calls = [\n  "a", # one\n  "b"\n]', 'calls = [\n  "a", # one\n  "b",\n  "stock",\n]'),
    ('calls = [\n  "a", # one ]\n]', 'calls = [\n  "a", # one ]\n  "stock",\n]'),
    ("calls = [\n  # none ]\n]", 'calls = [\n  # none ]\n  "stock",\n]'),
    ('calls = [ "a",\n  "b" ]', 'calls = [ "a",\n  "b", "stock" ]'),
]


@pytest.mark.parametrize(("before", "after"), CALLS)
def test_a_call_is_added_in_the_way_the_list_is_written(before: str, after: str) -> None:
    """On a line or on many, with or without a comma at the end, with comments and brackets in them."""
    frame = '# top\n[gateway] # the way in\nspec = "g.yaml"\n{}\nport = 1\n[services.b]\ncalls = ["c"]\n'
    assert add_call(frame.format(before), "stock") == frame.format(after)


def test_a_gateway_without_calls_gets_them() -> None:
    """The line comes below the header; other tables keep theirs."""
    text = '[services.b]\ncalls = ["c"]\n\n[ gateway ]\nspec = "g.yaml"\n\n[x]\ncalls = ["d"]\n'
    assert add_call(text, "stock") == text.replace("[ gateway ]\n", '[ gateway ]\ncalls = ["stock"]\n')


@pytest.mark.parametrize(
    "text", ['gateway = { spec = "g.yaml" }\n', '[system]\nname = "x"\n', '["gateway"]\ncalls = []\n']
)
def test_a_call_that_cannot_be_added_is_refused(text: str) -> None:
    """Rather no change than a wrong one."""
    with pytest.raises(ConfigurationError, match=r"add it yourself|no table \[gateway\]"):
        add_call(text, "stock")
