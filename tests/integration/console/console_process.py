"""A console as a process of its own, as `skerry console` makes one: `python console_process.py TOKEN`."""

from __future__ import annotations

import sys

from skerry.console import Sources, serve

if __name__ == "__main__":
    serve(Sources(name="shop"), token=sys.argv[1], on_ready=lambda address: print(address, flush=True))
