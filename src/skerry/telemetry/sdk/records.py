"""Signals as records of the SDK: events with a name, below the span that is current."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider

from skerry import __version__
from skerry.clock import SYSTEM, Clock
from skerry.signals import Level, Signal
from skerry.telemetry.conventions import SCHEMA_URL
from skerry.telemetry.encoding import event_name, fields_of
from skerry.telemetry.spans import TOLD_BY_SPANS

_SEVERITIES: Final[Mapping[Level, SeverityNumber]] = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}


class Records:
    """Writes signals through the logger of a provider, but for those that spans and durations tell."""

    def __init__(self, provider: LoggerProvider, *, clock: Clock = SYSTEM) -> None:
        self._logger = provider.get_logger("skerry", __version__, schema_url=SCHEMA_URL)
        self._clock = clock

    def heard(self, signal: Signal) -> None:
        """Write this signal; it is of a kind that this `wants`."""
        at = int(self._clock.now() * 1e9)
        severity = _SEVERITIES[signal.level]
        self._logger.emit(
            timestamp=at,
            observed_timestamp=at,
            severity_number=severity,
            severity_text=severity.name,
            event_name=event_name(type(signal)),
            attributes={f"skerry.{name}": value for name, value in fields_of(signal).items()},
        )

    @staticmethod
    def wants(kind: type[Signal]) -> bool:
        """Whether signals of this kind are records: not those that spans and durations tell."""
        return not issubclass(kind, TOLD_BY_SPANS)
