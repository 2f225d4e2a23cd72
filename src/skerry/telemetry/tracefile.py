"""The file of spans that a process writes, for whoever draws them.

Source: OTLP's JSON encoding, a request to export a line (OpenTelemetry Protocol 1.x, JSON Protobuf encoding; OpenTelemetry
Collector's file exporter).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.signals import HUB, Hub
from skerry.telemetry.encoding import span_of, spans_request

TOGETHER: Final = 64
"""Spans in a line, at most."""
SOON: Final = 0.5
"""Seconds after which a line is written all the same, as soon as there is another span."""


def write_traces(path: Path, *, service: str, hub: Hub = HUB, clock: Clock = SYSTEM) -> Callable[[], None]:
    """Append the spans of this process to `path` from now on, as lines of OTLP JSON; the returned function ends that.

    Several processes may write to one file. A process that is killed loses what it has not written, half a second of it at most
    while there is something to do. Raises `ConfigurationError` when the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(f"traces cannot be written to {path}: {error.strerror}") from error
    waiting: list[str] = []
    lock, since = threading.Lock(), [clock.monotonic()]

    def write() -> None:
        spans, waiting[:] = list(waiting), []
        since[0] = clock.monotonic()
        if spans:
            # in one piece: others append to the same file
            os.write(descriptor, b"".join((*spans_request(service, spans), b"\n")))

    def told(*span: Any) -> None:
        with lock:
            waiting.append(span_of(*span))
            if len(waiting) >= TOGETHER or clock.monotonic() - since[0] >= SOON:
                write()

    uncollect = hub.collect(told)

    def end() -> None:
        uncollect()
        with lock:
            write()
            os.close(descriptor)

    return end
