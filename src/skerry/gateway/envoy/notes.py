"""What is found out while a specification is compiled: what Envoy cannot do, and what it does a little differently."""

from __future__ import annotations

from dataclasses import dataclass, field

from skerry.errors import ConfigurationError
from skerry.gateway.model import Route

_MOST = 50
"""Errors that one message lists."""


@dataclass(slots=True)
class Notes:
    """Errors are collected, so that one run shows them all. A difference is told once, however many routes have it."""

    errors: list[str] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)
    line: int = 0

    def wrong(self, route: Route | None, field_name: str, why: str) -> None:
        """Envoy cannot do what stands in a field of `route`, or, with None, of the gateway."""
        where = field_name
        if route is not None:
            where = f"route {route.name!r}, {field_name}"
            self.line = self.line or route.line
            if route.line:
                where = f"line {route.line}: {where}"
        if (text := f"{where}: {why}") not in self.errors:
            self.errors.append(text)

    def differs(self, route: Route | None, field_name: str, how: str) -> None:
        """Envoy does it in the nearest form that it has."""
        routes = self.differences.setdefault(f"{field_name}: {how}", [])
        if route is not None and route.name not in routes:
            routes.append(route.name)

    def told(self) -> tuple[str, ...]:
        """All differences, each with the routes it is about."""
        return tuple(
            f"{text} ({_names(routes)})" if routes else text for text, routes in sorted(self.differences.items())
        )

    def settle(self, source: str) -> None:
        """Raise `ConfigurationError` when there was something wrong."""
        if not self.errors:
            return
        shown = self.errors[:_MOST]
        if len(self.errors) > _MOST:
            shown.append(f"and {len(self.errors) - _MOST} more")
        listed = "".join(f"\n  {text}" for text in shown)
        raise ConfigurationError(f"Envoy cannot do this:{listed}", source=source, line=self.line or None)


def _names(routes: list[str]) -> str:
    if len(routes) > 3:
        return f"routes {', '.join(routes[:3])} and {len(routes) - 3} more"
    return f"route{'s' * (len(routes) > 1)} {', '.join(routes)}"
