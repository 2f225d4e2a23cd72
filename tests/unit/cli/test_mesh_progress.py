"""What `skerry run --mesh` tells of identities."""

from __future__ import annotations

import io
import json
from pathlib import Path

from skerry.cli.run import JsonProgress, TextProgress
from skerry.deploy import Console
from skerry.signals import AuthoritiesChanged, IdentityRenewed, Signal
from skerry.topology import System

SYSTEM = System(name="shop", file=Path("/skerry.toml"), services={})
RENEWED = IdentityRenewed(service="order", name="spiffe://shop/order", ends=10.0)
REFUSED = IdentityRenewed(service="order", name="spiffe://shop/order", ends=10.0, error="order.pem: has expired")


def told(kind: type[JsonProgress] | type[TextProgress], *heard: Signal) -> list[str]:
    stream = io.StringIO()
    console = Console(stream, [])
    progress = JsonProgress(SYSTEM, console) if kind is JsonProgress else TextProgress(SYSTEM, console, [])
    for signal in heard:
        progress.on_signal(signal)
    console.close()
    return stream.getvalue().splitlines()


def test_a_program_is_told_everything() -> None:
    """A line for each new certificate, each that could not be replaced, and each change of authorities."""
    lines = told(JsonProgress, RENEWED, REFUSED, AuthoritiesChanged(system="shop", count=2))
    common = {"event": "identity", "service": "order", "name": "spiffe://shop/order", "ends": 10.0}
    assert [json.loads(line) for line in lines] == [
        common | {"error": ""},
        common | {"error": "order.pem: has expired"},
        {"event": "authorities", "name": "shop", "count": 2},
    ]


def test_a_person_is_told_what_went_wrong() -> None:
    """Rotation is daily business; only what could not be replaced is worth a line."""
    lines = told(TextProgress, RENEWED, REFUSED, AuthoritiesChanged(system="shop", count=2))
    assert lines == ["skerry: order keeps its certificate: order.pem: has expired"]
