"""What a system tells its operators: subscribers to signals, each independent of the others."""

from __future__ import annotations

from skerry.telemetry.logs import configure_logging, log_signals

__all__ = ["configure_logging", "log_signals"]
