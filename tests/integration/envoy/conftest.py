from __future__ import annotations

import sys
from pathlib import Path

# for `envoy_stage`
sys.path[:0] = [str(Path(__file__).parent)]
