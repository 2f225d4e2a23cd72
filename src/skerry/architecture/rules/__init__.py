"""The eight NEVER rules, one file each."""

from __future__ import annotations

from skerry.architecture.rules.finding import Finding, Rule, Severity, Subject, Verdict
from skerry.architecture.rules.no_compensation import no_compensation

__all__ = ["RULES", "Finding", "Rule", "Severity", "Subject", "Verdict"]

RULES: tuple[Rule, ...] = (no_compensation,)
