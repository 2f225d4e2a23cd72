"""`python -m tests.crash.soak --minutes M --seed S [--history FILE] [-o json]`: one seeded run of the nemesis.

Exit status: 0 valid, 1 not valid (the folder with history, databases and logs is kept and named), 2 too little happened.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from storm.run import Storm, as_json, as_text


def main() -> int:
    """Run, print, and keep what is needed to understand a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="how long there is load and faults (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan and the faults are drawn from (default: 1)")
    parser.add_argument("--history", type=Path, help="also write the history to this file")
    parser.add_argument("-o", dest="form", choices=["text", "json"], default="text", help="the form of the result")
    chosen = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="soak-"))
    begin = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begin:6.1f} s  {text}\n")

    result = None
    storm = Storm(chosen.seed, chosen.minutes * 60, data, tell)
    try:
        result = asyncio.run(_run(storm))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    finally:
        if result is None or not result.valid:
            tell(f"history, databases and logs lie in {data}")
        if chosen.history is not None:
            shutil.copyfile(storm.history_path, chosen.history)
    sys.stdout.write((as_json(result) if chosen.form == "json" else as_text(result)) + "\n")
    if result.valid:
        shutil.rmtree(data)
    return result.code


async def _run(storm: Storm) -> object:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await storm.run()


if __name__ == "__main__":
    sys.exit(main())
