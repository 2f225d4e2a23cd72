"""Following a name has a bound; what cannot be told is given up early, so that the rest of the question is answered."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory, code_of

from skerry.architecture.code.facts import Bound

ASKS = """
import requests
LIMIT = 3
def ask(config):
    return requests.get("http://peer/a", timeout=config.limit or LIMIT)
"""


def given_in_many_places(places: int, hops: int) -> dict[str, str]:
    """Files that each give `limit` something else, over as many functions."""
    files = {}
    for place in range(places):
        lines = ["import library"]
        lines += [f"def f{place}_{hop}():\n    return f{place}_{hop + 1}()" for hop in range(hops)]
        lines += [f"def f{place}_{hops}():\n    return library.Made{place}()"]
        lines += [f"def give(it):\n    it.limit = f{place}_0()"]
        files[f"shop/given{place:02}.py"] = "\n".join(lines) + "\n"
    return files


def test_a_name_that_many_give_does_not_use_up_the_steps() -> None:
    """Two places that differ are enough to know that it cannot be told; the other half of the `or` is then a limit."""
    (call,) = code_of(Memory({"shop/ask.py": ASKS, **given_in_many_places(30, 8)})).calls
    assert call.timeout.bound is Bound.BOUNDED
