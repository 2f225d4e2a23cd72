"""The limits that skerry itself sets when it is told none: how long, and where that stands in its own source.

They are looked up in the text of the installed package, which is neither imported nor run: so a limit that is changed there is
never told wrongly here, and a reader is given the line that bounds the call.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from skerry.architecture.code.facts import Bound, Timeout
from skerry.architecture.source import Place

_PACKAGE: Final = Path(__file__).parents[3]
_MAX_SIZE: Final = 1 << 20
_STANDS: Final = {
    "Policy": ("resilience/policy.py", re.compile(r"^\s+total: float \| None = ([\d.]+),", re.MULTILINE), 10.0),
    "client": ("client/policy.py", re.compile(r"^\s+total=([\d.]+),", re.MULTILINE), 5.0),
}
"""Of each limit its file, the text that sets it, and its seconds where the file cannot be read (a package in an archive)."""
_TOLD: Final = {"Policy": "a policy's own total", "client": "the policy that a client has when it is given none"}


def default(what: str, place: Place | None) -> Timeout:
    """What bounds a call that names no limit: `Policy` is a policy without a total, `client` a client without a policy.

    `place` is what the reader's own code leaves out; where skerry sets the limit is said in words, as that is another code base.
    """
    seconds, where = _found(what)
    return Timeout(Bound.DEFAULT, seconds, f"{_TOLD[what]}, {where}", place)


@cache
def _found(what: str) -> tuple[float, str]:
    file, pattern, seconds = _STANDS[what]
    where = f"skerry/{file}"
    try:
        with (_PACKAGE / file).open(encoding="utf-8") as opened:
            text = opened.read(_MAX_SIZE)
    except (OSError, ValueError):
        return seconds, where
    match = pattern.search(text)
    if match is None:
        return seconds, where
    return float(match[1]), f"{where}:{text.count(chr(10), 0, match.start(1)) + 1}"
