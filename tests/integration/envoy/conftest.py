from __future__ import annotations

import sys
from pathlib import Path

# for `envoy_stage`, and for the issuer of tokens that attacks the embedded engine, too
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "unit" / "gateway" / "auth")]
