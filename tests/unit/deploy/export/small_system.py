"""A system with one of everything that an export has a word for."""

from __future__ import annotations

from pathlib import Path

from skerry.topology import System, load

TOML = """\
[system]
name = "corner-shop"
events = "sqlite:///events/"

[gateway]
spec = "gateway.yaml"
port = 9000
calls = ["order"]

[topics]
"shop.order.placed" = { owner = "order" }

[services.order]
app = "order.app:service"
database = "sqlite:///order.db"
calls = ["stock-room"]
publishes = ["shop.order.placed"]
env = { GREETING = "{{ hello }}" }

[services.stock-room]
app = "stock.app:service"
database = "sqlite:///stock.db"
grpc = true

[services.mailer]
app = "mailer.app:service"
subscribes = ["shop.order.placed"]
"""


def small_system(folder: Path, text: str = TOML) -> System:
    """Written to `folder`, and loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "skerry.toml").write_text(text)
    (folder / "gateway.yaml").write_text("routes:\n  - {path: /orders, service: order}\n")
    return load(folder / "skerry.toml")
