"""What was found, as people and programs want to read it: text, JSON, Markdown, SARIF.

Pure functions over findings. Whatever comes from the repository that was read is data in every format: it is escaped, and there
is a limit to how much of it is written.
"""

from __future__ import annotations

from skerry.architecture.report.baseline import Baseline, read_baseline
from skerry.architecture.report.data import as_data, finding_data
from skerry.architecture.report.explain import as_rule, find, read_report, rule_data
from skerry.architecture.report.finding_text import as_one
from skerry.architecture.report.markdown import as_markdown
from skerry.architecture.report.report import Known, Marked, Report, RuleVerdict, report, write_baseline
from skerry.architecture.report.sarif import as_sarif
from skerry.architecture.report.text import as_text

__all__ = [
    "Baseline",
    "Known",
    "Marked",
    "Report",
    "RuleVerdict",
    "as_data",
    "as_markdown",
    "as_one",
    "as_rule",
    "as_sarif",
    "as_text",
    "find",
    "finding_data",
    "read_baseline",
    "read_report",
    "report",
    "rule_data",
    "write_baseline",
]
