"""What is found out while a specification is compiled: what Envoy cannot do, and what it does a little differently."""

from __future__ import annotations

from dataclasses import dataclass, field

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway.model import GatewaySpec, Route

_MOST = 50
"""Errors that are told at once."""


@dataclass(slots=True)
class Notes:
    """Errors are collected, so that one run shows them all. A difference is told once, however many routes have it."""

    spec: GatewaySpec
    errors: dict[tuple[str, str, str], ConfigurationError] = field(default_factory=dict)
    differences: dict[str, dict[str, None]] = field(default_factory=dict)
    """With the names of the routes, in their order."""

    def wrong(self, route: Route | None, field_name: str, why: str) -> None:
        """Envoy cannot do what stands in a field of `route`, or, with None, of the gateway."""
        key = ("" if route is None else route.name, field_name, why)
        if key in self.errors:
            return
        if route is None:
            told = ConfigurationError(f"on Envoy, {why}", source=self.spec.source, field=field_name)
        else:
            told = ConfigurationError(
                f"on Envoy, {why} (route {route.name!r})",
                source=self.spec.source,
                line=route.line or None,
                field=f"routes[{self.spec.routes.index(route)}].{field_name}",
            )
        self.errors[key] = told

    def differs(self, route: Route | None, field_name: str, how: str) -> None:
        """Envoy does it in the nearest form that it has."""
        routes = self.differences.setdefault(f"{field_name}: {how}", {})
        if route is not None:
            routes[route.name] = None

    def join(self, differences: dict[str, dict[str, None]]) -> None:
        """Differences that were found elsewhere."""
        for text, routes in differences.items():
            self.differences.setdefault(text, {}).update(routes)

    def told(self) -> tuple[str, ...]:
        """All differences, each with the routes it is about."""
        return tuple(
            f"{text} ({_names(list(routes))})" if routes else text for text, routes in sorted(self.differences.items())
        )

    def settle(self) -> None:
        """Raise `ConfigurationError`, or `Mistakes` for several, when there was something wrong."""
        found = list(self.errors.values())[:_MOST]
        if len(found) > 1:
            raise Mistakes(found)
        if found:
            raise found[0]


def _names(routes: list[str]) -> str:
    if len(routes) > 3:
        return f"routes {', '.join(routes[:3])} and {len(routes) - 3} more"
    return f"route{'s' * (len(routes) > 1)} {', '.join(routes)}"
