"""What `skerry run --mesh -o json` does, with small services in place of real ones: `mesh_drive.py FILE DATA`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from mesh_stage import command

from skerry import signals
from skerry.cli.run import JsonProgress, serve
from skerry.deploy import Console, LogFiles, Mesh, Supervisor
from skerry.topology import load

system = load(Path(sys.argv[1]))
data = Path(sys.argv[2])
with closing(Console(sys.stdout, [])) as console, closing(LogFiles(data / "logs")) as logs:
    progress = JsonProgress(system, console)
    signals.subscribe(progress.on_signal)
    asyncio.run(serve(Supervisor(system, data=data, output=logs, command=command, mesh=Mesh()), progress))
