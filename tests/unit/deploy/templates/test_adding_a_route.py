"""A route is added to a gateway.yaml as a person would do it: what stands there stays, character by character."""

from __future__ import annotations

import pytest
import yaml

from skerry.deploy.templates.yaml_text import add_route
from skerry.errors import ConfigurationError

ROUTE = {"path": "/api/stock", "methods": ["GET", "POST"], "service": "stock", "rewrite": "/stock"}


def added(text: str) -> str:
    return add_route(text, path="/api/stock", service="stock", rewrite="/stock")


def block(indent: str) -> str:
    lines = ["- path: /api/stock", "  methods: [GET, POST]", "  service: stock", "  rewrite: /stock"]
    return "".join(f"{indent}{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("before", "indent", "rest"),
    [
        ("name: g\nroutes:\n  - path: /a\n    service: a\n", "  ", ""),
        ("routes:\n- path: /a # why\n  service: a # mine\n", "", "# the end\n"),
        ("routes:\n    - {path: /a, service: a} # in a row\n", "    ", "\n\ndefaults: {policy: {total: 1.0}}\n"),
        (
            "routes:\n  - path: /a\n    policy:\n      total: 1.0 # s\n",
            "  ",
            "  # a comment\ndefaults:\n  policy: {total: 2.0}\n",
        ),
        ("routes:\n  - service: a\n    path: >-\n      /a\n", "  ", "name: g\n"),
        ('routes:\n  - service: a\n    path: "/a"\n    methods:\n      [GET,\n       POST]\n', "  ", ""),
    ],
)
def test_a_route_comes_after_the_last_one(before: str, indent: str, rest: str) -> None:
    """Indented as the others are, before what follows the routes; all else is as it was."""
    assert added(before + rest) == before + block(indent) + rest
    assert yaml.safe_load(added(before + rest))["routes"][-1] == ROUTE


def test_the_last_line_gets_its_end() -> None:
    """A file that does not end with a line feed is no exception."""
    assert added("routes:\n  - path: /a\n    service: a") == "routes:\n  - path: /a\n    service: a\n" + block("  ")


def test_the_first_route_takes_the_place_of_the_empty_list() -> None:
    """A gateway that a template made has none yet."""
    assert added("routes: [] # none yet\nname: g\n") == "routes:\n" + block("  ")[:-1] + " # none yet\nname: g\n"


@pytest.mark.parametrize(
    "text",
    ["routes: [{path: /a, service: a}]\n", "name: g\n", "routes: 3\n", "- a\n", "routes: &x\n  - *x\n", "a: [\n", ""],
)
def test_a_file_that_no_route_can_be_added_to_is_refused_with_the_lines(text: str) -> None:
    """Rather no change than a wrong one: the message has the lines."""
    with pytest.raises(ConfigurationError, match="add it yourself:\n- path: /api/stock"):
        added(text)
