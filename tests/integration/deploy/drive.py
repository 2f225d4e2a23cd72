"""What `skerry run -o json` does, with tiny services in place of real ones: `drive.py FILE DATA PORT [DATABASE BROKER]`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from systems import command

from skerry import signals
from skerry.cli.options import servers_for
from skerry.cli.run import JsonProgress, serve
from skerry.deploy import Console, LogFiles, Supervisor
from skerry.errors import SkerryError
from skerry.topology import load

system = load(Path(sys.argv[1]))
data = Path(sys.argv[2])
servers = servers_for(*(sys.argv[4:6] or [None, None]))
with closing(Console(sys.stdout, [])) as console, closing(LogFiles(data / "logs")) as logs:
    progress = JsonProgress(system, console)
    signals.subscribe(progress.on_signal)
    try:
        options = {"data": data, "port": int(sys.argv[3]), "output": logs, "command": command, "servers": servers}
        asyncio.run(serve(Supervisor(system, **options), progress))
    except SkerryError as error:
        sys.exit(f"error: {error}")
