from __future__ import annotations

import sys
from pathlib import Path

# for `pages` and `terminal`, and for the `stage` and its `peers` that the gateway's tests use
FOLDERS = [Path(__file__).parent, *(Path(__file__).parents[1] / name for name in ("gateway", "client"))]
sys.path[:0] = [str(folder) for folder in FOLDERS]
