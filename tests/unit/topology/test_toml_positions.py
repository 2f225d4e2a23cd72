"""Line numbers of TOML keys."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.topology.positions import Path, positions

TRICKY = '''\
# [not.a.table]
a = 1 # b = 2
"quoted.key" = 'x = "y"' # comment " with quote
'literal\\key' = "esc \\" ] \\\\"
dotted . "in side" . deep = true
multi = """
[no.table] # no comment
fake = 1 \\" ""
two quotes at the end"""""
after = \'\'\'
'' fake = [ \'\'\'\'\'
empty = """"""
dates = [1979-05-27 07:32:00, 1979-05-27T07:32:00Z] # ]
list = [ # comment ]
  1, "]", # two
  [
    'a', """
#
"""],
  { x = 1, "y z" = [
    2 ] }
]
inline = { p.q = 1, r = { s = "}" } }

[ table . "sub.table" ]
key = 1
[[array]]
v = 1
[array.child]
w = 2
[[array.list]]
[[array.list]]
z = 3
[[array]]
[array.child.deep]
w = 4
[table]
"\\u0065scaped" = 1
'''


def paths(value: Any, path: Path = ()) -> set[Path]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {found for key, inner in items for found in paths(inner, (*path, key))}


def test_every_key_and_element_has_a_line() -> None:
    """The paths found are those of what tomllib returns, no more and no fewer."""
    assert set(positions(TRICKY)) == paths(tomllib.loads(TRICKY))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("quoted.key",), 3),
        (("literal\\key",), 4),
        (("dotted", "in side", "deep"), 5),
        (("multi",), 6),
        (("after",), 10),
        (("empty",), 12),
        (("dates", 1), 13),
        (("list",), 14),
        (("list", 1), 15),
        (("list", 2), 16),
        (("list", 2, 0), 17),
        (("list", 2, 1), 17),
        (("list", 3), 20),
        (("list", 3, "y z", 0), 21),
        (("inline", "r", "s"), 23),
        (("table", "sub.table"), 25),
        (("table", "sub.table", "key"), 26),
        (("array",), 27),
        (("array", 0), 27),
        (("array", 0, "child", "w"), 30),
        (("array", 0, "list", 1, "z"), 33),
        (("array", 1), 34),
        (("array", 1, "child"), 35),
        (("array", 1, "child", "deep", "w"), 36),
        (("table",), 37),
        (("table", "escaped"), 38),
    ],
)
def test_line_of(path: Path, line: int) -> None:
    """A key stands on its own line, an element on its own, a table at its header."""
    assert positions(TRICKY)[path] == line


def test_windows_line_ends() -> None:
    """A line ends at LF, with or without CR before it."""
    text = TRICKY.replace("\n", "\r\n")
    assert positions(text) == positions(TRICKY)


NASTY = st.text(st.sampled_from("ab \"'#[]{}=.,\\\n\tß"), max_size=12)


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def multi(text: str) -> str:
    return '"""\n' + text.replace("\\", "\\\\").replace('"""', '""\\"').replace("\t", "\\t") + '"""'


def literal(text: str) -> str:
    return "'''" + text.replace("'", "") + "'''"


scalars = st.one_of(
    st.integers().map(str),
    st.sampled_from(["true", "1.5e3", "inf", "07:32:00", "1979-05-27 07:32:00", "0xff"]),
    st.builds(lambda f, t: f(t), st.sampled_from([basic, multi, literal]), NASTY),
)
gaps = st.sampled_from(["", " ", "\n", " # ]},\n", "\n\n\t"])


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=4))
    body = ",".join(draw(gaps) + item + draw(gaps) for item in items)
    return "[" + body + ("," if items and draw(st.booleans()) else "") + draw(gaps) + "]"


def inline_tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    tables = st.dictionaries(NASTY, inner, max_size=3)
    return tables.map(lambda t: "{ " + ", ".join(f"{basic(key)} = {value}" for key, value in t.items()) + " }")


values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A document and the lines of its keys, known because they were counted while it was written."""
    text, lines, table = "", {}, ()
    for number in range(draw(st.integers(0, 8))):
        text += draw(st.sampled_from(["", "\n", "# [x]\n", "  "]))
        line = text.count("\n") + 1
        tail = draw(NASTY)
        match draw(st.integers(0, 2)):
            case 0:
                table = (f"table {number}", tail)
                text += f"[ {basic(table[0])} . {basic(tail)} ] # {number}\n"
                lines |= {table[:1]: line, table: line}
            case 1:
                table = ("rows", sum(path[0] == "rows" and len(path) == 2 for path in lines))
                text += "[[rows]]\n"
                lines |= {table: line}
                lines.setdefault(("rows",), line)
            case _:
                text += f"{basic(f'key {number}{tail}')}.k={draw(values)} # =\n"
                lines |= {(*table, f"key {number}{tail}"): line, (*table, f"key {number}{tail}", "k"): line}
    return text, lines


@settings(database=None, deadline=None)
@given(documents())
def test_agrees_with_tomllib(document: tuple[str, dict[Path, int]]) -> None:
    """For any document: the same paths as tomllib, and the lines on which the keys were written."""
    text, lines = document
    found = positions(text)
    assert set(found) == paths(tomllib.loads(text))
    assert lines.items() <= found.items()
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
