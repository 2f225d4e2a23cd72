"""`python -m skerry.gateway.envoy FILE`: the process of the embedded engine behind Envoy, see `behind`."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from skerry.gateway.engine import serve
from skerry.gateway.model import GatewaySpec
from skerry.settings import Settings


def main(file: Path) -> None:
    """Serve what `file` says, again whenever it is replaced, until standard input ends."""

    def told() -> tuple[GatewaySpec, Mapping[str, tuple[str, ...]], float]:
        # The file is in a folder that only our own user may enter, written by the process that started this one.
        found: tuple[GatewaySpec, Mapping[str, tuple[str, ...]], float] = pickle.loads(file.read_bytes())  # noqa: S301
        return found

    _, addresses, drain = told()
    settings = replace(Settings.from_environ(), supervised=True, drain=drain)
    serve(lambda: told()[0], addresses=addresses, settings=settings, watch=(file,))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
