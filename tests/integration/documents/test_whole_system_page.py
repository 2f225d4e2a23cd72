"""What the page on testing a whole system shows: its blocks are tests, and pass as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pages import Block, blocks_of, runs

PAGE = "docs/how-to/test-a-whole-system.md"
FAILING = """

async def test_that_fails(skerry_system, faults):
    async with skerry_system(SERVICES) as system:
        faults.kill("payment", at=1, restart_after=1.0)
        await place(system, "order-1")
        await system.settled()
        raise AssertionError("to see what it says")
"""


@runs(PAGE, "text")
def test_the_page_on_testing_a_system_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    """All tests on the page pass, without any configuration; one that fails tells the story that is shown."""
    code = "\n\n".join(block.text for block in blocks_of(PAGE) if block.language == "python")
    (tmp_path / "test_page.py").write_text(code + FAILING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert f"1 failed, {code.count('def test_')} passed" in done.stdout, done.stdout + done.stderr
    for line in shown[0].text.splitlines():
        assert line in done.stdout
