"""What Envoy is configured with, as plain values: each kind's resources by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["clusters", "listeners", "routes", "secrets"]

KINDS: Mapping[Kind, str] = {
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "secrets": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
}
"""Each kind's type, in the order in which they are to be delivered: what is referred to comes first."""


@dataclass(frozen=True, slots=True)
class Resources:
    """One whole configuration. The values are what Envoy's API calls them, as JSON: with `name` and without `@type`."""

    clusters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    listeners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def of(self, kind: Kind) -> Mapping[str, Mapping[str, Any]]:
        """The resources of one kind, by name."""
        found: Mapping[str, Mapping[str, Any]] = getattr(self, kind)
        return found

    def joined(self, older: Resources) -> Resources:
        """These, and those of which only `older` has the name: for the time in which both are used."""
        return Resources(
            clusters={**older.clusters, **self.clusters},
            listeners={**older.listeners, **self.listeners},
            routes={**older.routes, **self.routes},
            secrets={**older.secrets, **self.secrets},
        )
