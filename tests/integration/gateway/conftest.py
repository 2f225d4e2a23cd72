from __future__ import annotations

import sys
from pathlib import Path

# The misbehaving peers are the client's; a gateway meets the same ones.
sys.path.insert(0, str(Path(__file__).parents[1] / "client"))
