"""`python -m tests.crash.sagas --sagas N --kills K --database D [--seed S] [--folder F] [-o json]`: one run of the sagas soak.

Exit status: 0 when the books agree and all planned faults happened, 1 when not (the folder with history, databases and logs is
kept and named), 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from soaking.run import Soak
from storming.command import carry_out


def main() -> int:
    """One run, as the command line has it."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.sagas", description=__doc__.splitlines()[0])
    parser.add_argument("--sagas", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--stop", type=float, default=6.0, help="seconds for which a leading engine is stopped")
    return carry_out(parser, Soak, "sagas-soak-")


if __name__ == "__main__":
    sys.exit(main())
