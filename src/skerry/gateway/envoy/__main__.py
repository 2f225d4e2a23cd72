"""`python -m skerry.gateway.envoy FILE`: the process of the embedded engine behind Envoy, see `behind`."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

from skerry.gateway.engine import serve
from skerry.gateway.envoy.behind import Told
from skerry.settings import Settings


def main(file: Path) -> None:
    """Serve what `file` says, again whenever it is replaced, until standard input ends."""

    def told() -> Told:
        # The file is in a folder that only our own user may enter, written by the process that started this one.
        found: Told = pickle.loads(file.read_bytes())  # noqa: S301
        return found

    first = told()
    settings = replace(Settings.from_environ(), supervised=True, drain=first.drain)
    serve(lambda: told().spec, addresses=first.addresses, settings=settings, watch=(file,), state=first.state)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
