"""The command line of a soak: run it, print what became of it, and keep what is needed to understand a failure."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .report import as_json, as_text


def carry_out(parser: argparse.ArgumentParser, soak: Callable[..., Any], prefix: str) -> int:
    """Run `soak` with what the parser finds; the exit status. A temporary folder's name begins with `prefix`."""
    parser.add_argument("--seed", type=int, default=1, help="what the plan and the faults are drawn from")
    parser.add_argument("--folder", type=Path, help="where to keep everything; a temporary folder otherwise")
    parser.add_argument("-o", dest="form", choices=["text", "json"], default="text")
    chosen = vars(parser.parse_args())
    form, kept = chosen.pop("form"), chosen.pop("folder")
    folder = kept or Path(tempfile.mkdtemp(prefix=prefix))
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {text}\n")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that puts it into the background ignores it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and with that everything is cleared up
    try:
        result = soak(**chosen, folder=folder, tell=tell).run()
    except KeyboardInterrupt:
        tell(f"interrupted; databases and logs lie in {folder}")
        return 130
    sys.stdout.write((as_json(result) if form == "json" else as_text(result)) + "\n")
    if result.ok and kept is None:
        shutil.rmtree(folder)
    elif not result.ok:
        tell(f"history, databases and logs lie in {folder}")
    return 0 if result.ok else 1
