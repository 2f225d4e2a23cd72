"""Health checks: each with a time limit, shared by all who ask at once, cached for a moment, told as a standard body.

checks = HealthChecks()
checks.add("database", database.ping, timeout=1.0)
report = await checks.run()
report.status, report.body()
"""

from __future__ import annotations

from skerry.health.checks import Check, HealthChecks
from skerry.health.report import CheckResult, HealthReport, Status

__all__ = ["Check", "CheckResult", "HealthChecks", "HealthReport", "Status"]
