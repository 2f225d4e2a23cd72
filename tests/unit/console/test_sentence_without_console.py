"""The sentence when no console runs: from the system's file and its processes alone, by the same rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skerry.console import sentence_of
from skerry.console.picture import Picture
from skerry.console.sources import Sources
from skerry.testing import VirtualClock
from skerry.topology import Gateway, ServiceSpec, System

SHOP = System(
    name="shop",
    file=Path("/skerry.toml"),
    gateway=Gateway(spec=Path("/gateway.yaml"), calls=("order",)),
    services={
        "order": ServiceSpec(name="order", app="order.app:service", calls=("payment",), database="postgresql:"),
        "payment": ServiceSpec(name="payment", app="payment.app:service"),
    },
)
NOW = 1_000_000.0


def processes(**states: str) -> list[dict[str, Any]]:
    """All ready for a minute, but for what differs since ten seconds."""
    names = dict.fromkeys(["postgresql", "order", "payment", "gateway"], "ready") | states
    return [
        {"name": name, "state": state, "since": NOW - (60 if state == "ready" else 10)} for name, state in names.items()
    ]


@pytest.mark.parametrize(
    ("states", "begins"),
    [
        ({}, "All 2 services are healthy for 1 min"),
        ({"payment": "crashed"}, "payment is down since"),
        ({"payment": "held", "order": "running"}, "payment is held back since"),
        ({"postgresql": "crashed", "order": "crashed"}, "postgresql is down since"),
        ({"gateway": "crashed"}, "gateway is down since"),
        ({"order": "crashed", "payment": "crashed", "gateway": "crashed"}, "all 2 services are down since"),
        ({"gateway": "stopping"}, "the system is stopping since"),
        ({"order": "stopping", "payment": "stopped", "gateway": "stopped"}, "the system is stopping since"),
    ],
)
def test_the_deepest_that_fails_is_named(states: dict[str, str], begins: str) -> None:
    """Whoever fails and calls nobody that fails is named, also a server that everybody stands on."""
    assert sentence_of(SHOP, processes(**states), now=NOW).text.startswith(begins)


def test_a_system_that_stops_is_not_ill() -> None:
    """It is said since when, from the first that was told to."""
    told = processes(order="stopping", payment="stopped", gateway="stopped")
    told[-1]["since"] = NOW - 20
    said = sentence_of(SHOP, told, now=NOW)
    assert (said.level, said.since, said.subject, said.damage) == ("warn", NOW - 20, None, "")


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"payment": "crashed"},
        {"postgresql": "crashed", "order": "running"},
        {"order": "stopping", "payment": "stopped", "gateway": "stopped"},
    ],
)
def test_a_console_that_has_heard_nothing_says_the_same(states: dict[str, str]) -> None:
    """A console and `skerry ps` without one do not contradict each other."""
    clock = VirtualClock(start=NOW)
    picture = Picture(Sources(topology=SHOP), clock=clock)
    picture.states.take(processes(**states))
    assert picture.view()["sentence"] == sentence_of(SHOP, processes(**states), now=NOW).as_dict()
