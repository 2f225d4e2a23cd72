"""What `skerry check` says of a system, as a page with its picture needs it: whom a finding is about, and what to read beside it.

Taken from the report's own data, so that a page and a report cannot differ. It has less: a page is to be looked at, not to be
worked through, and one with ten thousand findings would not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAX_FINDINGS: Final = 500
MAX_EVIDENCE: Final = 12
_SAID: Final = ("rule", "verdict", "severity", "services", "message", "file", "line")


def judged(data: Mapping[str, Any]) -> dict[str, Any]:
    """Findings and what is not known, the worst first, and each rule's verdict; `data` is what the report gives as JSON.

    `more` is how many findings are left out: those beyond the first 500. Each has at most 12 pieces of evidence.
    """
    findings, unknown = data["findings"], data["unknown"]
    return {
        "findings": [_finding(each) for each in findings[:MAX_FINDINGS]],
        "more": max(0, len(findings) - MAX_FINDINGS),
        "unknown": [_finding(each) for each in unknown[:MAX_FINDINGS]],
        "rules": [
            {name: each[name] for name in ("rule", "verdict", "allowed", "known", "why", "fix")}
            for each in data["rules"]
        ],
    }


def _finding(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: each[name] for name in _SAID},
        "evidence": each["evidence"][:MAX_EVIDENCE],
        "fix": each["fix"],
    }
