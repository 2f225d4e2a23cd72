"""`python -m skerry.gateway SPEC [--engine NAME]`: a gateway as a process of a system, as its supervisor starts it.

Its surroundings come from `SKERRY_*` variables: the first listener's address and port are those of the process, and services are
where they say. For a gateway by itself there is `skerry gateway run`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.gateway.model import GatewaySpec
from skerry.gateway.strangler.keeping import served
from skerry.settings import Settings
from skerry.telemetry import configure_logging, telling

STATE = "strangle"
"""The state folder of strangled routes, in the data folder."""


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Returns the exit status: 0 after a clean stop, 2 for a wrong specification or setting."""
    path, engine = _understood(arguments)
    if path is None:
        print("usage: python -m skerry.gateway SPEC [--engine embedded|envoy]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = Settings.from_environ()
        load = _loader(path, settings)
        first = load()
        name = first.name
        configure_logging(name, settings.log_level)
        with telling(name, settings):
            _serve(engine, path, load, first, settings)
    except ConfigurationError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _understood(arguments: list[str]) -> tuple[Path | None, str]:
    match arguments:
        case [path]:
            return Path(path), "embedded"
        case [path, "--engine", ("embedded" | "envoy") as engine]:
            return Path(path), engine
        case _:
            return None, ""


def _loader(path: Path, settings: Settings) -> Callable[[], GatewaySpec]:
    reader = reading.Reader()

    def load() -> GatewaySpec:
        spec = reader.read(path)
        first = replace(spec.listeners[0], address=settings.host, port=settings.port)
        return replace(spec, listeners=(first, *spec.listeners[1:]))

    return load


def _serve(engine: str, path: Path, load: Callable[[], GatewaySpec], first: GatewaySpec, settings: Settings) -> None:
    addresses = reading.places(settings.urls)
    folder = settings.data / STATE
    with served(load, first, spec=path, folder=folder) as (loaded, watch, more):
        if engine == "envoy":
            from skerry.gateway import envoy

            envoy.serve(loaded, addresses=addresses, settings=settings, watch=watch, **more)
        else:
            from skerry.gateway import engine as embedded

            embedded.serve(loaded, addresses=addresses, settings=settings, watch=watch, **more)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
