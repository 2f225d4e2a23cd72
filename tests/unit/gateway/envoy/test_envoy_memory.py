"""What was compiled and packed before is used again, and changes nothing about what comes out."""

from __future__ import annotations

from itertools import product
from typing import Any

from compiled_specs import ADDRESSES, FIXED, PLAIN, SPECS, spec

from skerry.errors import ConfigurationError
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.envoy.memory import Memory
from skerry.gateway.model import GatewaySpec, Respond, Route


def outcome(value: GatewaySpec, memory: Memory | None) -> object:
    try:
        return compiled(value, addresses=ADDRESSES, memory=memory)
    except ConfigurationError as error:
        return str(error)


def test_what_was_compiled_before_changes_nothing_about_what_comes_out() -> None:
    """After any specification, any other is compiled as if it were the first, with all that is told about it."""
    for before, after in product(SPECS, SPECS):
        memory = Memory()
        for value in (before, after, before, after):
            assert outcome(value, memory) == outcome(value, None)


def test_routes_that_stay_are_not_compiled_again() -> None:
    """Their part of the configuration is the same object, which is known to who packs it."""
    memory, fresh = Memory(), Route("fixed", FIXED.matches, Respond(200, "y"))
    first = compiled(spec(PLAIN, FIXED), addresses=ADDRESSES, memory=memory)
    second = compiled(spec(PLAIN, fresh), addresses=ADDRESSES, memory=memory)
    mine, theirs = (_routes(made.resources.routes, "plain") for made in (first, second))
    assert mine
    assert all(one is other for one, other in zip(mine, theirs, strict=True))


def test_another_address_compiles_all_of_it_again() -> None:
    """A cluster that was remembered with an old address would lead to nobody."""
    memory = Memory()
    compiled(spec(PLAIN), addresses=ADDRESSES, memory=memory)
    moved = {**ADDRESSES, "a": ("http://10.0.0.9:8000",)}
    made = compiled(spec(PLAIN), addresses=moved, memory=memory)
    assert made == compiled(spec(PLAIN), addresses=moved)


def _routes(tables: Any, name: str) -> list[Any]:
    return [
        route
        for table in tables.values()
        for host in table["virtual_hosts"]
        for route in host["routes"]
        if route.get("name") == name
    ]
