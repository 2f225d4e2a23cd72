"""`python -m skerry.service order.app:service`: serve one service until told to stop."""

from __future__ import annotations

import sys

from skerry.errors import ConfigurationError, SkerryError
from skerry.service.loading import load
from skerry.service.server import serve
from skerry.settings import Settings
from skerry.telemetry import configure_logging, telling


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
        with telling(service.name, settings):
            serve(service.app, settings, on_drain=service.drain)
    except SkerryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
