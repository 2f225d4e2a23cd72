"""`skerry simulate`, as somebody types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRANSFER = """
from skerry import Saga
from skerry.testing.sagas import FakeBarrier, Simulation


class Bank:
    def __init__(self):
        self.ann, self.bob, self.barrier = 10, 0, FakeBarrier()

    def __enter__(self):
        global bank
        bank = self

    def __exit__(self, *_):
        pass


transfer = Saga("transfer", input=str)


@transfer.step()
async def take(ctx, given):
    bank.ann -= 10


@take.compensate
async def untake(ctx, given, result):
    bank.ann += 10


@transfer.retriable()
async def add(ctx, given):
    bank.barrier.act(ctx.key, lambda: setattr(bank, "bob", 10))


other = Saga("other", input=str)
checked = Simulation(transfer, "1", Bank, lambda end: end.world.ann + end.world.bob == 10)
"""


def simulate(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skerry", "simulate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "transfer.py").write_text(TRANSFER)
    return tmp_path


@pytest.mark.timeout(400)
def test_the_shops_saga_cannot_be_left_half_done() -> None:
    """Two crashes and two faults, or another worker that takes over: all of it tried, and every window met."""
    done = simulate("examples.shop.order.saga:fulfilment", "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["exhaustive"] is True
    assert report["violations"] == report["missing_windows"] == []
    assert report["windows"] == [*range(1, 15), 16, 17, 18]
    assert report["completed"] > 100
    assert report["compensated"] > 100


def test_a_way_to_leave_it_half_done_is_shown_and_can_be_replayed(own: Path) -> None:
    """Exit status 1, a line for each point up to what went wrong, and a text that brings it back."""
    found = simulate("transfer:checked", "-o", "json", folder=own)
    assert found.returncode == 1
    (violation,) = json.loads(found.stdout)["violations"]
    again = simulate("transfer:checked", "--replay", violation["replay"], folder=own)
    assert again.returncode == 1
    assert all(line in again.stdout for line in (violation["reason"], *violation["story"]))
    harmless = simulate("transfer:checked", "--replay", "1:fails", folder=own)
    assert (harmless.returncode, harmless.stdout) == (0, "nothing is left half done in this execution\n")


@pytest.mark.parametrize(
    ("saga", "says"),
    [
        ("transfer", "'transfer' is not MODULE:SAGA"),
        ("nowhere:transfer", "there is no module 'nowhere' here"),
        ("transfer:nothing", "'transfer:nothing' is nothing"),
        ("transfer:take", "'transfer:take' is no Saga and no Simulation"),
        ("transfer:other", "there is no module 'simulation' here"),
    ],
)
def test_what_cannot_be_simulated_is_an_error(saga: str, says: str, own: Path) -> None:
    """A name that leads nowhere, or to a saga without a world, is one line on standard error."""
    done = simulate(saga, folder=own)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {says}")
    assert done.stderr.count("\n") == 1
