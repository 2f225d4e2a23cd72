"""Envoy as the second engine of a gateway: the same specification, compiled for it.

    compiled = compile(spec, addresses={"order": ("http://10.0.0.1:8000",)})
    compiled.differences            # what Envoy does a little differently
    serve(load, addresses=..., settings=...)

What Envoy cannot do is a `ConfigurationError` that names route and field; nothing is dropped silently.
"""

from __future__ import annotations

from skerry.gateway.envoy.compiler import Compiled
from skerry.gateway.envoy.compiler import compile_spec as compile  # noqa: A004 - it reads as a verb of this package
from skerry.gateway.envoy.running import serve

__all__ = ["Compiled", "compile", "serve"]
