"""A name for each finding that stays when lines move, so that a baseline and a dashboard know it again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from skerry.architecture.rules.finding import Finding

LENGTH: Final = 16
"""Hexadecimal digits: 64 bits, so two findings among a million share one with a chance of one in thirty million."""


def fingerprints(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Each finding, in the order of places, with its fingerprint.

    It is made of rule, services, file and key, never of a line. Findings that are equal in all of these are numbered: when one of
    three is mended, the first two keep their names.
    """
    seen: Counter[str] = Counter()
    for finding in sorted(findings, key=_order):
        own = _identity(finding)
        seen[own] += 1
        ordinal = f"\n{seen[own]}" if seen[own] > 1 else ""
        digest = hashlib.sha256(f"{own}{ordinal}".encode("utf-8", "surrogatepass"))
        yield finding, digest.hexdigest()[:LENGTH]


def _identity(finding: Finding) -> str:
    """Each part with its length before it, so that no two findings run into one text."""
    parts = (
        finding.rule,
        ",".join(sorted(finding.services)),
        finding.place.file if finding.place else "",
        finding.key,
    )
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
