"""What a run of the checks found, and the body that says so.

The body follows draft-inadarei-api-health-check-06 (Health Check Response Format for HTTP APIs).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Status = Literal["pass", "warn", "fail"]
Observed = str | float | None
MEDIA_TYPE = "application/health+json"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found at `time` (seconds since 1970). `output` is empty when it passed; it never holds a secret."""

    status: Status
    time: float
    output: str = ""
    observed_value: Observed = None

    def as_json(self) -> dict[str, Any]:
        """The check's entry in the body."""
        entry: dict[str, Any] = {"status": self.status}
        if self.observed_value is not None:
            entry["observedValue"] = self.observed_value
        if self.output:
            entry["output"] = self.output
        entry["time"] = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return entry


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of the whole: fail when a critical check fails, warn when anything else is amiss, else pass."""

    status: Status
    checks: Mapping[str, CheckResult]

    @property
    def ok(self) -> bool:
        """Whether to send traffic here: everything but fail."""
        return self.status != "fail"

    def body(self) -> bytes:
        """The report as JSON for a reply of type `application/health+json`."""
        checks = {name: [result.as_json()] for name, result in self.checks.items()}
        return json.dumps({"status": self.status, "checks": checks}, separators=(",", ":")).encode()
