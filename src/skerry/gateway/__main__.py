"""`python -m skerry.gateway SPEC`: one gateway as a process. Its surroundings come from `SKERRY_*` variables."""

from __future__ import annotations

import sys
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.gateway.app import Gateway
from skerry.gateway.spec import GatewaySpec
from skerry.service.server import serve
from skerry.settings import Settings
from skerry.telemetry import configure_logging, log_signals, write_traces


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Returns the exit status: 0 after a clean stop, 2 for a wrong specification or setting."""
    if len(arguments) != 1:
        print("usage: python -m skerry.gateway SPEC", file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = Settings.from_environ()
        spec = GatewaySpec.load(Path(arguments[0]))
        configure_logging(spec.name, settings.log_level)
        log_signals(service=spec.name, level=settings.log_level)
        gateway = Gateway(spec, urls=settings.urls)
        end = write_traces(Path(settings.traces), service=spec.name) if settings.traces else None
        try:
            serve(gateway, settings, on_drain=gateway.drain)
        finally:
            if end is not None:
                end()
    except ConfigurationError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
