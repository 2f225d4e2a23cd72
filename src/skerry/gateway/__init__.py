"""The way in: one declarative specification, and two engines that serve it alike.

`model` says what there is; `reading` makes it from YAML and `kubernetes` from manifests of the Gateway API; `engine` serves it in
Python, `envoy` on Envoy. `skerry gateway run SPEC` does all of that.
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import yaml  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("The gateway", "gateway") from _error

from skerry.gateway.model import (
    AccessLog,
    Action,
    Addresses,
    Aggregate,
    Auth,
    Backend,
    BreakerSpec,
    Cors,
    Forward,
    GatewaySpec,
    GuardSpec,
    HeaderEdit,
    JwtProvider,
    Limits,
    Listener,
    Match,
    Mirror,
    Normalise,
    Part,
    PathMatch,
    PolicySpec,
    RateSpec,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Route,
    Service,
    Shadow,
    Shape,
    Sticky,
    Strangle,
    Tls,
    ValueMatch,
)

__all__ = [
    "AccessLog",
    "Action",
    "Addresses",
    "Aggregate",
    "Auth",
    "Backend",
    "BreakerSpec",
    "Cors",
    "Forward",
    "GatewaySpec",
    "GuardSpec",
    "HeaderEdit",
    "JwtProvider",
    "Limits",
    "Listener",
    "Match",
    "Mirror",
    "Normalise",
    "Part",
    "PathMatch",
    "PolicySpec",
    "RateSpec",
    "Redirect",
    "Respond",
    "RetrySpec",
    "Rewrite",
    "Route",
    "Service",
    "Shadow",
    "Shape",
    "Sticky",
    "Strangle",
    "Tls",
    "ValueMatch",
]
