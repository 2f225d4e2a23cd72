"""What in a migration the code that runs now may not survive. It finds the usual ways, and is no proof.

A file that is harmless all the same says why: `-- skerry: safe, nothing has read this column since release 7`.
"""

from __future__ import annotations

import re
from typing import Final

_SAFE: Final = re.compile(r"^--\s*skerry:\s*safe\b[ \t,:]*\S", re.MULTILINE)
_DROPS: Final = re.compile(r"\bDROP\s+(?!NOT\s+NULL\b)((?:MATERIALIZED\s+VIEW|FOREIGN\s+TABLE|\w+))")
_ALTERS: Final = re.compile(r"^\s*ALTER\s+TABLE\b")
_ADDS: Final = re.compile(
    r"\bADD\b(?!\s+(?:CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY|EXCLUDE)\b)[^,(]*(?:\([^)]*\)[^,(]*)*"
)
_WORDS: Final = (
    ("RENAME", re.compile(r"\bRENAME\b")),
    ("another TYPE", re.compile(r"\bALTER\s+(?:COLUMN\s+)?(?:\"[^\"]+\"|\w+)\s+(?:SET\s+DATA\s+)?TYPE\b")),
    ("SET NOT NULL", re.compile(r"\bSET\s+NOT\s+NULL\b")),
    ("ADD CONSTRAINT", re.compile(r"\bADD\s+(?:CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY|EXCLUDE)\b")),
)


def breaking(text: str, bare: str) -> tuple[str, ...]:
    """What of a file's `text` breaks older code, in its order; nothing when it says why not. `bare` is it without comments."""
    if _SAFE.search(text):
        return ()
    found: dict[str, None] = {}
    for statement in bare.upper().split(";"):
        for match in _DROPS.finditer(statement):
            found[f"DROP {' '.join(match[1].split())}"] = None
        if not _ALTERS.match(statement):
            continue
        for name, pattern in _WORDS:
            if pattern.search(statement):
                found[name] = None
        for added in _ADDS.finditer(statement):
            if re.search(r"\bNOT\s+NULL\b", added[0]) and not re.search(r"\b(?:DEFAULT|GENERATED|SERIAL)\b", added[0]):
                found["NOT NULL without DEFAULT"] = None
    return tuple(found)
