"""`python -m tests.crash.events --events N --kills K --database D --broker B [--seed S] [-o json]`: one run of the events soak.

Exit status: 0 when the books agree and all planned faults happened, 1 when not (the folder with history, databases and logs is
kept and named), 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from storming.command import carry_out
from storming.run import BROKERS, Soak


def main() -> int:
    """One run, as the command line has it."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.events", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--broker", choices=["sqlite", *BROKERS], default="sqlite")
    parser.add_argument("--stop", type=float, default=30.0, help="seconds for which the leading relay is stopped")
    return carry_out(parser, Soak, "events-soak-")


if __name__ == "__main__":
    sys.exit(main())
