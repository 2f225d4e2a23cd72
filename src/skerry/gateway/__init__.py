"""The way in: routes requests to services, each route within a policy of its own, and puts answers together.

`python -m skerry.gateway gateway.yaml` serves one. This is the embedded engine.
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import yaml  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("The gateway", "service") from _error

from skerry.gateway.app import Gateway
from skerry.gateway.spec import GatewaySpec

__all__ = ["Gateway", "GatewaySpec"]
