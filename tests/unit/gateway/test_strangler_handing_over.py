"""Ownership changes hands only when every gateway and both sides say so; else it stays where it was, and that is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError, StatusError
from skerry.gateway.model import Strangle
from skerry.gateway.strangler import shares, tally
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.handing_over import OVERDUE, HandingOver, NotHandedOver, Side
from skerry.gateway.strangler.ramps import Ramps
from skerry.gateway.strangler.shares import Owner
from skerry.gateway.strangler.tally import Tally
from skerry.testing import VirtualClock

PLAN = Strangle("monolith", "orders", shadow=None, position="/position")
Told = dict[Side, dict[str, object]]


@contextmanager
def serving(folder: Path, name: str, *, version: int) -> Iterator[None]:
    """A gateway that has confirmed `version`, and is there."""
    with closing(tally.File(folder, name)) as file:
        file.put(tally.text(Tally(os.getpid(), version)))
        yield


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def ramps(tmp_path: Path, clock: VirtualClock) -> Iterator[Ramps]:
    with Ramps(tmp_path, clock=clock) as made:
        made.start("orders", PLAN, Place("done", 100.0), at=clock.now(), reason="test")
        with serving(tmp_path, "gateway", version=10**6):
            yield made


def _told(told: Told) -> Callable[[Side, str], Mapping[str, object]]:
    def ask(side: Side, path: str) -> Mapping[str, object]:
        assert path == "/position"
        return told[side]

    return ask


def _handing(ramps: Ramps, clock: VirtualClock, told: Told, plan: Strangle = PLAN) -> HandingOver:
    return HandingOver("orders", plan, ramps, ramps.folder, _told(told), clock)


def _owner(ramps: Ramps) -> tuple[Owner, Owner]:
    """By the database, and by the file that gateways follow."""
    return ramps.share("orders").owner, shares.read(ramps.folder).routes["orders"].owner


def test_the_candidate_owns_once_it_has_everything(ramps: Ramps, clock: VirtualClock) -> None:
    """The numbers that made it are written down with the decision."""
    told: Told = {"control": {"written": 7}, "candidate": {"seen": 7, "written": 2}}
    numbers = _handing(ramps, clock, told).hand_over()
    assert numbers == {"control_written": 7, "candidate_seen": 7, "candidate_written": 2}
    assert _owner(ramps) == ("candidate", "candidate")
    found = ramps.find("orders")
    assert found is not None
    last = ramps.decisions(found)[-1]
    assert (last.verdict, last.by, last.numbers) == ("hand_over", "person", numbers)


def test_it_goes_back_while_nothing_new_was_written(ramps: Ramps, clock: VirtualClock) -> None:
    """What counts is what the candidate recorded since, not what it had recorded before."""
    told: Told = {"control": {"written": 7}, "candidate": {"seen": 9, "written": 2}}
    _handing(ramps, clock, told).hand_over()
    _handing(ramps, clock, told).hand_back()
    assert _owner(ramps) == ("control", "control")


def test_it_does_not_go_back_once_something_was(ramps: Ramps, clock: VirtualClock) -> None:
    """The message says how much, and the candidate goes on as the owner."""
    told: Told = {"control": {"written": 7}, "candidate": {"seen": 7, "written": 0}}
    _handing(ramps, clock, told).hand_over()
    told["candidate"]["written"] = 3
    with pytest.raises(NotHandedOver, match="3 facts since"):
        _handing(ramps, clock, told).hand_back()
    assert _owner(ramps) == ("candidate", "candidate")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"control": {"written": 7}, "candidate": {"seen": 6, "written": 0}}, "6 of its 7 facts"),
        ({"control": {}, "candidate": {"seen": 6, "written": 0}}, "control does not say 'written'"),
        ({"control": {"written": True}, "candidate": {"seen": 1, "written": 0}}, "control does not say 'written'"),
        ({"control": {"written": 7}, "candidate": {"seen": "7", "written": 0}}, "candidate does not say 'seen'"),
        ({"control": {"written": 7}, "candidate": {"seen": 7, "written": -1}}, "candidate does not say 'written'"),
    ],
)
def test_without_proof_it_stays(ramps: Ramps, clock: VirtualClock, told: Told, message: str) -> None:
    """A side that lags, or does not tell, leaves the owner who it was, and no decision."""
    with pytest.raises(NotHandedOver, match=message):
        _handing(ramps, clock, told).hand_over()
    assert _owner(ramps) == ("control", "control")
    found = ramps.find("orders")
    assert found is not None
    assert [each.verdict for each in ramps.decisions(found)] == ["start"]


def test_a_gateway_that_does_not_hold_its_writes_stops_it(ramps: Ramps, clock: VirtualClock) -> None:
    """As long as one may still send writes to the control, nothing that the control says is final."""
    told: Told = {"control": {"written": 0}, "candidate": {"seen": 0, "written": 0}}
    with (
        serving(ramps.folder, "another", version=ramps.version),
        pytest.raises(NotHandedOver, match="not every gateway"),
    ):
        _handing(ramps, clock, told).hand_over()
    assert _owner(ramps) == ("control", "control")


def test_a_side_that_fails_leaves_the_owner(ramps: Ramps, clock: VirtualClock) -> None:
    """Its own error is told as the reason."""

    def ask(side: Side, path: str) -> Mapping[str, object]:
        raise StatusError(side, 503)

    with pytest.raises(NotHandedOver, match="the control stays the owner"):
        replace(_handing(ramps, clock, {}), ask=ask).hand_over()
    assert _owner(ramps) == ("control", "control")


def test_whoever_is_interrupted_leaves_the_owner(ramps: Ramps, clock: VirtualClock) -> None:
    """Ctrl-C in the middle is no reason to hold writes any longer."""

    def ask(_side: Side, _path: str) -> Mapping[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(_handing(ramps, clock, {}), ask=ask).hand_over()
    assert _owner(ramps) == ("control", "control")


def test_whoever_was_killed_is_put_right_later(ramps: Ramps, clock: VirtualClock) -> None:
    """Nobody owns the writes for longer than it can take; then they are whose they were."""
    ramps.own("orders", "nobody", before="control", verdict=None, reason="held", numbers={})
    clock.advance(OVERDUE - 1)
    ramps.give_back(overdue=OVERDUE)
    assert _owner(ramps) == ("nobody", "nobody")
    clock.advance(2)
    ramps.give_back(overdue=OVERDUE)
    assert _owner(ramps) == ("control", "control")


def test_whoever_took_too_long_changes_nothing(ramps: Ramps, clock: VirtualClock) -> None:
    """Stopped in the middle, it was given back; what both sides told was of before, and counts no more."""

    def ask(side: Side, _path: str) -> Mapping[str, object]:
        if side == "candidate":
            clock.advance(OVERDUE + 1)
            ramps.give_back(overdue=OVERDUE)
        return {"written": 7, "seen": 7}

    with pytest.raises(NotHandedOver, match="went back to the control"):
        replace(_handing(ramps, clock, {}), ask=ask).hand_over()
    assert _owner(ramps) == ("control", "control")


def test_a_clock_that_is_put_back_holds_no_writes(ramps: Ramps, clock: VirtualClock) -> None:
    """A time that lies ahead is none: else requests would wait until the clock is there again."""
    clock.advance(3600.0)
    ramps.own("orders", "nobody", before="control", verdict=None, reason="held", numbers={})
    with Ramps(ramps.folder, clock=VirtualClock()) as later:
        later.give_back(overdue=OVERDUE)
    assert _owner(ramps) == ("control", "control")


def test_of_two_who_hand_over_at_once_one_is_told(ramps: Ramps) -> None:
    """Who saw another owner than there is takes nothing from anybody."""
    ramps.own("orders", "nobody", before="control", verdict=None, reason="held", numbers={})
    with pytest.raises(ConfigurationError, match="changed meanwhile; it is nobody now"):
        ramps.own("orders", "nobody", before="control", verdict=None, reason="held", numbers={})


@pytest.mark.parametrize(
    ("plan", "percent", "owner", "message"),
    [
        (PLAN, 50.0, "control", "hand over at 100 %"),
        (PLAN, 100.0, "candidate", "owns it already"),
        (PLAN, 100.0, "nobody", "right now"),
        (replace(PLAN, writes="ramp"), 100.0, "control", "no owner to change"),
    ],
)
def test_what_cannot_be_tried_is_refused_before(
    tmp_path: Path, clock: VirtualClock, plan: Strangle, percent: float, owner: Owner, message: str
) -> None:
    """Nothing is held, and nobody is asked."""
    with Ramps(tmp_path, clock=clock) as ramps:
        ramps.start("orders", plan, Place("ramping", percent), at=clock.now(), reason="test")
        ramps.own("orders", owner, before="control", verdict=None, reason="test", numbers={})
        before = ramps.version
        with pytest.raises(ConfigurationError, match=message):
            _handing(ramps, clock, {}, plan).hand_over()
        assert ramps.version == before


def test_without_a_position_it_cannot_be_undone(ramps: Ramps, clock: VirtualClock) -> None:
    """It is handed over unasked then, and nobody could tell what would be lost."""
    blind = replace(PLAN, position=None)
    assert _handing(ramps, clock, {}, blind).hand_over() == {}
    with pytest.raises(ConfigurationError, match="without `position`"):
        _handing(ramps, clock, {}, blind).hand_back()
    assert _owner(ramps) == ("candidate", "candidate")
