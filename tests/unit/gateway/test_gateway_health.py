from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from skerry.gateway.engine.health import FRESH, MAX_TOLD, Health
from skerry.testing import VirtualClock


class Troubles:
    """What is amiss; it counts how often it is asked."""

    def __init__(self, *found: tuple[str, str]) -> None:
        self.found = list(found)
        self.asked = 0

    def __call__(self) -> Iterator[tuple[str, str]]:
        self.asked += 1
        yield from self.found


def told(health: Health, which: str) -> tuple[int, dict[str, Any]]:
    answer = health.answer(f"/health/{which}")
    assert answer is not None
    assert dict(answer.headers) == {b"content-type": b"application/health+json", b"cache-control": b"no-store"}
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("which", ["live", "ready", "startup"])
def test_a_gateway_that_serves_passes(which: str) -> None:
    """Nothing is amiss, so all three say pass."""
    assert told(Health(Troubles(), VirtualClock()), which) == (200, {"status": "pass", "checks": {}})


def test_what_is_shared_only_warns() -> None:
    """An open circuit and missing keys are named, and the gateway stays ready."""
    status, body = told(Health(Troubles(("circuit a -> b", "open"), ("keys id", "none")), VirtualClock()), "ready")
    assert (status, body["status"]) == (200, "warn")
    assert {name: [each["status"] for each in check] for name, check in body["checks"].items()} == {
        "circuit a -> b": ["warn"],
        "keys id": ["warn"],
    }
    assert body["checks"]["keys id"][0]["output"] == "none"


def test_whether_it_lives_is_nobody_elses_business() -> None:
    """Liveness and startup look at nothing."""
    troubles = Troubles(("keys id", "none"))
    health = Health(troubles, VirtualClock())
    assert told(health, "live") == told(health, "startup") == (200, {"status": "pass", "checks": {}})
    assert troubles.asked == 0


def test_draining_comes_first() -> None:
    """At once, whatever was told a moment ago; it lives on and has started."""
    health = Health(Troubles(), VirtualClock())
    assert told(health, "ready")[0] == 200
    health.draining = True
    status, body = told(health, "ready")
    assert (status, body["checks"]["process"][0]["output"]) == (503, "draining")
    assert told(health, "live")[0] == told(health, "startup")[0] == 200


def test_a_storm_of_probes_looks_once_a_second() -> None:
    """What was found is told again for a second, and then looked at anew."""
    clock = VirtualClock()
    troubles = Troubles(("keys id", "none"))
    health = Health(troubles, clock)
    for _ in range(100):
        assert told(health, "ready")[1]["status"] == "warn"
    assert troubles.asked == 1
    troubles.found.clear()
    clock.advance(FRESH)
    assert told(health, "ready")[1]["status"] == "pass"


def test_very_many_troubles_make_no_endless_answer() -> None:
    """The first hundred stand for all."""
    troubles = Troubles(*((f"circuit {number}", "open") for number in range(1000)))
    assert len(told(Health(troubles, VirtualClock()), "ready")[1]["checks"]) == MAX_TOLD


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/other", "/healthy"])
def test_other_paths_are_not_its_own(path: str) -> None:
    """They are nothing."""
    assert Health(Troubles(), VirtualClock()).answer(path) is None
