"""A server that speaks MongoDB's protocol: NX-27017, from a wheel, which keeps everything in SQLite files.

Not MongoDB. Good for the wire, for conditional replacement of one document, unique indexes and what was written when it is
killed; wrong about `$push` of objects, `$exists` on places in arrays, `$not`, lists of types, and paths that end at a number.
"""

from __future__ import annotations

import sys
from pathlib import Path

from servers.process import Server


class MongoServer(Server):
    """It asks for no password; the one in `url` is there to be kept secret."""

    name = "NX-27017"

    def url(self, database: str, options: str = "") -> str:
        return f"mongodb://127.0.0.1:{self.port}/{database}{options}"

    def command(self) -> list[str]:
        program = str(Path(sys.executable).parent / "nx-27017")
        files = {"--data-dir": "data", "--log-file": "nx.log", "--pid-file": "nx.pid"}
        where = [word for option, name in files.items() for word in (option, str(self.folder / name))]
        return [program, "--host", "127.0.0.1", "--port", str(self.port), *where]
