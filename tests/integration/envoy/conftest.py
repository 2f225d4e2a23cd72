from __future__ import annotations

import sys
from pathlib import Path

# for `envoy_stage`; for a name server; and for the issuer of tokens that attacks the embedded engine, too
sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "client"),
    str(Path(__file__).parents[2] / "unit" / "gateway" / "auth"),
    str(Path(__file__).parents[2] / "unit" / "gateway" / "envoy"),
]
