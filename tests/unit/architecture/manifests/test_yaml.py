from __future__ import annotations

import pytest

from skerry.architecture.manifests.yaml import documents
from skerry.architecture.source import Unreadable


def test_every_node_knows_its_line() -> None:
    """A value's line is the line it stands in."""
    (root,) = documents("a:\n  b: 1\n  c: [x,\n    y]\n")
    assert root.at("a", "b").line == 2
    assert [each.line for each in root.at("a", "c").items] == [3, 4]


def test_merge_keys_add_what_is_not_there() -> None:
    """A mapping's own entries win over those that it merges, one mapping or a list of them."""
    (root,) = documents("x: &x {a: 1, b: 1}\ny: &y {c: 1}\nz:\n  <<: [*x, *y]\n  b: 2\n")
    assert {key: value.text for key, value in root["z"].fields.items()} == {"b": "2", "a": "1", "c": "1"}


def test_nothing_there_is_an_empty_node() -> None:
    """Null and absence read alike, and quoted text is never null."""
    (root,) = documents("a:\nb: '~'\n")
    assert root["a"].missing
    assert root.at("no", "such").missing
    assert not root["b"].missing


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "a: &a [*a]\n",
        "a: *nobody\n",
        "[" * 100 + "]" * 100,
        "a: [1, 2\n",
        "a: " + "[1," * 70 + "]" * 70,
        "\0",
    ],
    ids=["bomb", "itself", "nobody", "deep", "open", "deep-flow", "nul"],
)
def test_what_is_too_much_or_no_yaml_is_unreadable(text: str) -> None:
    """An alias bomb, a cycle, depth and mistakes are refused, each at once."""
    with pytest.raises(Unreadable):
        documents(text)


def test_tags_make_nothing() -> None:
    """A tag that would call a constructor is a text like any other."""
    (root,) = documents("a: !!python/object/apply:os.system ['true']\n")
    assert root["a"].texts() == ("true",)
