"""What `skerry run -o json` does, with the tiny services in place of real ones: `drive.py FILE DATA PORT`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from systems import command

from skerry import signals
from skerry.cli.run import JsonProgress, serve
from skerry.deploy import Console, LogFiles, Supervisor
from skerry.errors import SkerryError
from skerry.topology import load

system = load(Path(sys.argv[1]))
data = Path(sys.argv[2])
with closing(Console(sys.stdout, [])) as console, closing(LogFiles(data / "logs")) as logs:
    progress = JsonProgress(system, console)
    signals.subscribe(progress.on_signal)
    try:
        asyncio.run(serve(Supervisor(system, data=data, port=int(sys.argv[3]), output=logs, command=command), progress))
    except SkerryError as error:
        sys.exit(f"error: {error}")
