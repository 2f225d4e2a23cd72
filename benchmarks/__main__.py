"""`python -m benchmarks NAME [--rounds N] [--only PART] [--repo PATH] [--at DATE] [-o text|json]`.

Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.report import show

NAMES = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__init__.py"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one part, where a benchmark has parts that can be run alone")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text")
    parser.add_argument(
        "--repo", action="append", help="a repository, for `boundaries` and `check`; may be given again"
    )
    parser.add_argument("--at", action="append", help="a date up to which `boundaries` learns; may be given again")
    options = parser.parse_args()
    given = {"only": options.only, "repos": options.repo, "moments": options.at}
    part = {name: value for name, value in given.items() if value}
    document = import_module(f"benchmarks.{options.name}").run(rounds=options.rounds, **part)
    print(show(document, options.output))
    return 0 if document["ok"] else 1


sys.exit(main())
