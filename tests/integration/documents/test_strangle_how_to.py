"""The page on moving a capability out of a monolith: every command, in its order, on copies of the examples."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from pages import ROOT, Block, runs
from terminal import commands, terminal

from skerry.gateway import reading
from skerry.gateway.model import Forward

PAGE = "docs/how-to/strangle-a-monolith.md"


@runs(PAGE, "console")
def test_the_commands_for_moving_a_capability_do_what_the_page_shows(shown: list[Block], tmp_path: Path) -> None:
    """They print what stands there; `status` and `report` end with what they tell; the same key gives the same order."""
    for name in ("monolith", "strangler"):
        kept = shutil.ignore_patterns("var", "__pycache__")
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name, ignore=kept)
    orders: dict[str, set[str]] = {}
    told = [entry for block in shown for entry in commands(block.text)]
    with terminal(tmp_path) as opened:
        for command, expected in told:
            lines = [line for line in expected if line != "..."]
            asks = re.match(r"skerry strangle (status|report)", command)
            if asks or "-X POST" in command:
                done = opened.bash(opened.with_port(command))
                assert done.returncode in ({0, 3, 4} if asks else {0}), (command, done.stdout, done.stderr)
                missing = [line for line in lines if not opened.prints(done.stdout, line)]
                assert not missing, (command, done.stdout, missing)
                for key in re.findall(r"idempotency-key: (\w+)", command):
                    orders.setdefault(key, set()).add(json.loads(done.stdout)["order_id"])
            else:
                opened.run(command, lines)
        assert (opened.here / "orders.html").read_text().startswith("<!doctype html>")
        assert opened.system is None
    assert {key: len(ids) for key, ids in orders.items()} == {"mugs": 1, "lamp": 1}
    assert orders["mugs"] != orders["lamp"]


@runs(PAGE, "yaml")
def test_the_route_shown_is_that_of_the_example(shown: list[Block]) -> None:
    """But for its steps and its guard, which are quicker there."""
    page, example = reading.parse(shown[0].text), reading.read(ROOT / "examples" / "strangler" / "gateway.yaml")
    plans = [next(each.action for each in spec.routes if each.name == "orders") for spec in (page, example)]
    assert all(isinstance(plan, Forward) and plan.strangle for plan in plans)
    ours, theirs = (plan.strangle for plan in plans if isinstance(plan, Forward))
    assert ours is not None
    assert theirs is not None
    assert (ours.control, ours.candidate, ours.position) == (theirs.control, theirs.candidate, theirs.position)
