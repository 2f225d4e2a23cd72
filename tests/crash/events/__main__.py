"""`python -m tests.crash.events --events N --kills K --database D --broker B [--seed S] [-o json]`: one run of the events soak.

Exit status: 0 when the books agree and all planned faults happened, 1 when not (the folder with history, databases and logs is
kept and named), 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from storming.run import BROKERS, Soak


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

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that puts it into the background ignores it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and with that everything is cleared up
    try:
        result = Soak(**chosen, folder=folder, tell=tell).run()
    except KeyboardInterrupt:
        tell(f"interrupted; databases and logs lie in {folder}")
        return 130
    sys.stdout.write((result.json() if form == "json" else result.text()) + "\n")
    if result.ok and kept is None:
        shutil.rmtree(folder)
    elif not result.ok:
        tell(f"history, databases and logs lie in {folder}")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
