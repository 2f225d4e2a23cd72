from __future__ import annotations

import sys
from pathlib import Path

# for `served`, and for `late` calls beside the client's tests
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "client")]
