"""What `skerry run --mesh` tells of identities."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from skerry.cli.run import JsonProgress, TextProgress
from skerry.deploy import Console
from skerry.signals import AuthoritiesChanged, IdentityRenewed, Signal
from skerry.topology import System

SYSTEM = System(name="shop", file=Path("/skerry.toml"), services={})
RENEWED = IdentityRenewed(service="order", name="spiffe://shop/order", ends=10.0)
REFUSED = IdentityRenewed(service="order", name="spiffe://shop/order", ends=10.0, error="order.pem: has expired")


def told(file: Path, make: Callable[[Console], JsonProgress | TextProgress], *heard: Signal) -> list[str]:
    """The lines that are said when these signals are heard."""
    with file.open("w") as stream, closing(Console(stream, [])) as console:
        progress = make(console)
        for signal in heard:
            progress.on_signal(signal)
    return file.read_text().splitlines()


def test_a_program_is_told_everything(tmp_path: Path) -> None:
    """A line for each new certificate, each that could not be replaced, and each change of authorities."""
    changed = AuthoritiesChanged(system="shop", count=2)
    lines = told(tmp_path / "said", lambda console: JsonProgress(SYSTEM, console), RENEWED, REFUSED, changed)
    common = {"event": "identity", "service": "order", "name": "spiffe://shop/order", "ends": 10.0}
    assert [json.loads(line) for line in lines] == [
        common | {"error": ""},
        common | {"error": "order.pem: has expired"},
        {"event": "authorities", "name": "shop", "count": 2},
    ]


def test_a_person_is_told_what_went_wrong(tmp_path: Path) -> None:
    """Rotation is daily business; only what could not be replaced is worth a line."""
    changed = AuthoritiesChanged(system="shop", count=2)
    lines = told(tmp_path / "said", lambda console: TextProgress(SYSTEM, console, []), RENEWED, REFUSED, changed)
    assert lines == ["skerry: order keeps its certificate: order.pem: has expired"]
