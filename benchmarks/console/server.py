"""A console that is told of a system by spans alone: `python -m benchmarks.console.server TOKEN`."""

from __future__ import annotations

import sys

from skerry.console import Sources, serve

if __name__ == "__main__":
    serve(Sources(name="shop"), token=sys.argv[1], on_ready=lambda address: print(address, flush=True))
