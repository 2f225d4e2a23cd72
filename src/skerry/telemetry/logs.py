"""Logs: one JSON object a line, for signals and for the standard library's logging alike.

Secrets that travel in text are cut out on the way: credentials in URLs, Authorization values, bearer tokens. That is a net,
not a licence: signals and messages should not carry secrets in the first place.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TextIO

from skerry.clock import SYSTEM, Clock
from skerry.context import current
from skerry.errors import ConfigurationError
from skerry.signals import HUB, Detail, Hub, Level, Signal

MAX_TEXT = 4000
"""Characters kept of any one text: a message, a traceback, a field."""

_SEVERITY: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRETS = (
    (re.compile(r"""://[^\s/?#"'<>]*@"""), "://***@"),
    (re.compile(r"""(authorization["']?\s*[:=,]\s*(?:b?["'])?)[^"',;\r\n]+""", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE), r"\1 ***"),
)


def log_signals(
    stream: TextIO | None = None, *, service: str, level: Level = "info", hub: Hub = HUB, clock: Clock = SYSTEM
) -> Callable[[], None]:
    """Write each signal of at least `level` to `stream` (standard error by default) as one JSON line.

    The line holds time (ISO 8601, UTC, milliseconds), level, service, signal (its class), the signal's own fields, and
    trace_id when there is one. Returns a function that ends it.

    Example: `stop = log_signals(service="order")`
    """
    out = sys.stderr if stream is None else stream
    threshold = severity(level)

    def write(signal: Signal) -> None:
        if _SEVERITY[signal.level] < threshold:
            return
        own = {field.name: getattr(signal, field.name) for field in fields(signal)}
        head = _head(clock.utcnow(), signal.level, service)
        out.write(_line({**head, "signal": type(signal).__name__, **own}))
        out.flush()

    # most signals by far are details, and a service at info need not make them for its log
    return hub.subscribe(write, wants=lambda kind: threshold <= _SEVERITY["debug"] or not issubclass(kind, Detail))


def configure_logging(
    service: str, level: Level = "info", stream: TextIO | None = None, *, access_log: bool = False
) -> None:
    """Send all of the process's logging to `stream` (standard error by default) as JSON lines; replaces the root's handlers.

    uvicorn's access log is silent unless `access_log`.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(severity(level))
    access = logging.getLogger("uvicorn.access")
    access.disabled, access.propagate = not access_log, True


def severity(level: Level) -> int:
    """`level` as a number that grows with how much a person should care. Raises `ConfigurationError` for an unknown word."""
    if level not in _SEVERITY:
        raise ConfigurationError(f"log level is {level!r}; use one of {', '.join(_SEVERITY)}")
    return _SEVERITY[level]


def redact(text: str) -> str:
    """`text` without what looks like credentials."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        line = _head(datetime.fromtimestamp(record.created, UTC), level, self._service)
        line |= {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _line(line).rstrip("\n")


def _head(time: datetime, level: str, service: str) -> dict[str, Any]:
    head = {"time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "level": level, "service": service}
    trace_id = current().trace_id
    return {**head, "trace_id": trace_id} if trace_id else head


def _line(record: Mapping[str, Any]) -> str:
    # ensure_ascii keeps every control character, newlines above all, out of the line
    return json.dumps({key: _clean(value) for key, value in record.items()}, ensure_ascii=True) + "\n"


def _clean(value: object) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {redact(str(key)): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
        case _:
            return _cut(redact(str(value)))


def _cut(text: str) -> str:
    """The end of `text`, where a traceback says what went wrong."""
    return text if len(text) <= MAX_TEXT else "[cut] " + text[-MAX_TEXT:]
