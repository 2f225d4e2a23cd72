"""What the tutorial about an order shows."""

from __future__ import annotations

from pages import Block, blocks_of, runs
from terminal import commands, terminal

PAGE = "docs/tutorial-order.md"


@runs(PAGE, "console")
def test_the_order_of_the_tutorial_is_killed_declined_and_checked(shown: list[Block], tmp_path) -> None:
    """From the files on the page, each command prints what stands there."""
    with terminal(tmp_path) as opened:
        for block in blocks_of(PAGE):
            if block.file:
                (opened.here / block.file).write_text(block.text)
            elif block in shown:
                for command, expected in commands(block.text):
                    opened.run(command, expected)
