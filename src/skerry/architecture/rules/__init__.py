"""The eight NEVER rules, one file each."""

from __future__ import annotations

from skerry.architecture.rules.finding import Finding, Rule, Severity, Subject, Verdict

__all__ = ["Finding", "Rule", "Severity", "Subject", "Verdict"]
