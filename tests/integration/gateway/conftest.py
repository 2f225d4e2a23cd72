from __future__ import annotations

import sys
from pathlib import Path

# for `stage`, and for the client's misbehaving `peers`: a gateway meets the same ones; and for what also runs by itself, as
# `python -m tests.integration.gateway.conformance`
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "client"), str(Path(__file__).parents[3])]
