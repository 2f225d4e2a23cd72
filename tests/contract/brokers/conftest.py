from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import pytest  # noqa: E402


@pytest.fixture
def namespace():
    """A word for all names at a broker that no other test uses."""
    return f"t{uuid4().hex[:12]}"
