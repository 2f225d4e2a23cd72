"""A name for each finding that stays when lines move and files are renamed, so that a baseline and a dashboard know it again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from skerry.architecture.rules.finding import Finding

LENGTH: Final = 16
"""Hexadecimal digits: 64 bits, so two findings among a million share one with a chance of one in thirty million."""


def fingerprints(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str, str]]:
    """Each finding, in the order of places, with its fingerprint and with the one that it had while they were made of files, too.

    It is made of rule, services and key, never of a file or a line. Findings that are equal in all of these are numbered: when
    one of three is mended, two of the names stay, and one is gone.
    """
    seen: Counter[str] = Counter()
    for finding in sorted(findings, key=_order):
        file = finding.place.file if finding.place else ""
        yield finding, _numbered(_identity(finding), seen), _numbered(_identity(finding, file), seen)


def _numbered(own: str, seen: Counter[str]) -> str:
    seen[own] += 1
    ordinal = f"\n{seen[own]}" if seen[own] > 1 else ""
    return hashlib.sha256(f"{own}{ordinal}".encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def _identity(finding: Finding, *file: str) -> str:
    """Each part with its length before it, so that no two findings run into one text."""
    parts = (finding.rule, ",".join(sorted(finding.services)), *file, finding.key)
    return "\n".join(f"{len(part)}:{part}" for part in parts)


def _order(finding: Finding) -> tuple[str, str, int, str, str]:
    place = finding.place
    return (
        finding.rule,
        place.file if place else "",
        place.line if place else 0,
        finding.key,
        ",".join(sorted(finding.services)),
    )
