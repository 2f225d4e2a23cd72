"""`python -m tests.crash.events --events N --kills K --database D --broker B [--seed S] [-o json]`: one run of the events soak.

Exit status: 0 valid, 1 not (the folder with history, databases and logs is kept and named).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from soak import BROKERS, Soak, as_json


def main() -> int:
    """Run, print, and keep what is needed to understand a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.events", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--broker", choices=["sqlite", *BROKERS], default="sqlite")
    parser.add_argument("--seed", type=int, default=1, help="what the plan and the faults are drawn from")
    parser.add_argument("--stop", type=float, default=30.0, help="seconds for which the leading relay is stopped")
    parser.add_argument("--folder", type=Path, help="where to keep everything; a temporary folder otherwise")
    parser.add_argument("-o", dest="form", choices=["text", "json"], default="text")
    chosen = vars(parser.parse_args())
    form, kept = chosen.pop("form"), chosen.pop("folder")
    folder = kept or Path(tempfile.mkdtemp(prefix="events-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {text}\n")

    result = Soak(**chosen, folder=folder, tell=tell).run()
    sys.stdout.write((as_json(result) if form == "json" else result.text()) + "\n")
    if result.ok and kept is None:
        shutil.rmtree(folder)
    elif not result.ok:
        tell(f"history, databases and logs lie in {folder}")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
