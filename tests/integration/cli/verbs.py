"""The command `skerry` in this process, and waiting for what others do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner, Result

from skerry.cli.main import main

BOUND = 120.0


def skerry(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def told(*arguments: object, status: int = 0) -> Any:
    """What a verb says in JSON."""
    done = skerry(*arguments, "-o", "json")
    assert done.exit_code == status, (done.output, done.exception)
    return json.loads(done.stdout)


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds; the bound is against hangs."""
    end = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found
