"""What the page on dead letters shows."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from pages import ROOT, Block, runs
from terminal import BOUND, commands, terminal

SYSTEM = (
    '[system]\nname = "shop"\nevents = "sqlite:///events/"\n[topics]\n"shop.order.placed" = { owner = "billing" }\n'
    '[services.billing]\napp = "billing:service"\ndatabase = "sqlite:///billing.db"\n'
    'publishes = ["shop.order.placed"]\nsubscribes = ["shop.order.placed"]\n'
)


@runs("docs/how-to/handle-dead-letters.md", "console")
def test_the_page_on_dead_letters_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    """A service fails as on the page; the commands, in their order, print what stands there and leave no dead letter."""
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "billing.py").write_text((ROOT / "tests/integration/cli/billing.py").read_text())
    (tmp_path / "var").mkdir()
    broken = tmp_path / "var" / "broken"
    broken.touch()
    with terminal(tmp_path) as opened:
        run = subprocess.Popen(
            ["skerry", "run", "-o", "json"], cwd=tmp_path, env=opened.environ, stdout=subprocess.DEVNULL
        )
        try:
            end = time.monotonic() + BOUND
            while opened.bash(
                "skerry dead list | grep -q '^2 dead' && skerry dead list | grep -q 'order-1 *2 *2'"
            ).returncode:
                assert time.monotonic() < end, opened.bash("skerry dead list")
                time.sleep(0.1)
            for command, expected in (entry for block in shown for entry in commands(block.text)):
                if "replay" in command:
                    broken.unlink()
                lines = [re.sub(r"\d+ min", "...", line) for line in expected if line != "..."]
                opened.run(command, lines)
        finally:
            run.terminate()
            run.wait(timeout=BOUND)
