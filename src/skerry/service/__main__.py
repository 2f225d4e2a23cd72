"""`python -m skerry.service order.app:service`: serve one service until told to stop."""

from __future__ import annotations

import sys
from pathlib import Path

from skerry.errors import ConfigurationError, SkerryError
from skerry.service.loading import load
from skerry.service.server import serve
from skerry.settings import Settings
from skerry.telemetry import configure_logging, log_signals, write_traces


def main(arguments: list[str]) -> int:
    """Load and serve; the process's exit status."""
    try:
        if len(arguments) != 1:
            raise ConfigurationError("usage: python -m skerry.service MODULE:ATTRIBUTE")
        settings = Settings.from_environ()
        module = arguments[0].partition(":")[0].split(".")[0]
        configure_logging(module, level=settings.log_level)
        service = load(arguments[0])
        configure_logging(service.name, level=settings.log_level)
        log_signals(service=service.name, level=settings.log_level)
        end = write_traces(Path(settings.traces), service=service.name) if settings.traces else None
        try:
            serve(service.app, settings, on_drain=service.drain)
        finally:
            if end is not None:
                end()
    except SkerryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
