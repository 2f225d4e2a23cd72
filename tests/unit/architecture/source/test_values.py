"""Values as JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from skerry.architecture.code.extract import FileFacts, extract
from skerry.architecture.source import values


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    size: float = 0.0
    plain: str | int | bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    colour: Colour
    leaves: tuple[Leaf, ...] = ()
    pair: tuple[str, int] = ("", 0)
    names: frozenset[str] = frozenset()
    by_name: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    by_pair: Mapping[tuple[str, str], frozenset[tuple[str, str]]] = field(default_factory=dict)
    best: Leaf | None = None
    inner: tuple[Tree, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    inner: tuple[Node, ...] = ()


WHOLE = Tree(
    colour=Colour.RED,
    leaves=(Leaf("a"), Leaf("b", 2.5, plain=True)),
    pair=("x", 3),
    names=frozenset(("c", "b")),
    by_name={"k": (1, 2)},
    by_pair={("a", "b"): frozenset((("c", "d"),))},
    best=Leaf("d"),
    inner=(Tree(colour=Colour.RED),),
)


@pytest.mark.parametrize("value", [WHOLE, Tree(colour=Colour.RED), Leaf("\ud800 \0 é")])
def test_what_comes_back_is_equal(value: Tree | Leaf) -> None:
    """Every type that is known, nested, with and without what has a default, and text that is no UTF-8."""
    assert values.loads(type(value), values.dumps(value)) == value


def test_facts_of_a_file_come_back_equal() -> None:
    """The types that are kept are all known."""
    text = b"import app\n\n@app.get('/a')\ndef a():\n    b(os.environ['X'])\n\n\ndef b(c):\n    c()  # skerry: allow[x] y\n"
    facts = extract("app.py", text)
    assert facts.structure.routes
    assert values.loads(FileFacts, values.dumps(facts)) == facts


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"{}",
        b"[]",
        b"[[],{}]",
        b'[["red"],{}]',
        b"[0,[]]",
        b"[0,{}]",
        b'[0,{"Tree":[]}]',
        b'[-1,{"Tree":[["red"]]}]',
        b'[true,{"Tree":[["red"],["red"]]}]',
        b'[0,{"Tree":[["blue"]]}]',
        b'[0,{"Tree":[["red",[["a","2"]]]]}]',
        b'[0,{"Tree":[["red",[["a",true]]]]}]',
        b'[0,{"Tree":[["red",[1]]]}]',
        b'[0,{"Tree":[["red",[],["x"]]]}]',
        b'[0,{"Tree":[["red",[],["x","y"]]]}]',
        b'[0,{"Tree":[["red",[],["x",1],[1]]]}]',
        b'[0,{"Tree":[["red",[],["x",1],[],[]]]}]',
        b'[0,{"Tree":[["red",[],["x",1],[],{},[],[]]]}]',
        b'[0,{"Tree":[["red",[],["x",1],[],{},[],null,[0]]]}]',
        b'[0,{"Tree":[["red",[],["x",1],[],{},[],null,[],1]]}]',
        b"[" * 100_000,
        json.dumps([0, {"Tree": [["red", "ab"]]}]).encode(),
    ],
)
def test_anything_else_is_an_error(content: bytes) -> None:
    """What is damaged, too long, too deep, in circles or of another type is a ValueError and never another value."""
    with pytest.raises(ValueError, match=r"."):
        values.loads(Tree, content)


def test_what_is_held_often_is_written_once() -> None:
    """Of a type that holds its own kind, the same value stands in the table once and comes back as one."""
    small = Node("small")
    whole = Node("whole", (small, small, Node("inner", (small, small))))
    content = values.dumps(whole)
    assert len(json.loads(content)[1]["Node"]) == 3
    back = values.loads(Node, content)
    assert back == whole
    assert back.inner[0] is back.inner[2].inner[1]


def test_a_type_that_is_not_known_is_an_error() -> None:
    """A type that cannot be kept says so when it is written, not when it is read."""

    @dataclass(frozen=True)
    class Odd:
        when: complex

    with pytest.raises(TypeError):
        values.dumps(Odd(1j))
