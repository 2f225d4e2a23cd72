"""The routes of a specification that are strangled, and the same specification with what they are at."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from skerry.gateway.model import Backend, Forward, GatewaySpec, Route, Strangle
from skerry.gateway.strangler.shares import Share, Shares

WHOLE: Final = 10_000
"""Weights are hundredths of a percent."""
HOLD: Final = 8.0
"""Seconds that unsafe requests wait at most while ownership is handed over."""


def plans(spec: GatewaySpec) -> dict[str, Strangle]:
    """The plans of a specification, by route."""
    return {
        route.name: route.action.strangle
        for route in spec.routes
        if isinstance(route.action, Forward) and route.action.strangle is not None
    }


def applied(spec: GatewaySpec, shares: Shares) -> GatewaySpec:
    """`spec` as an engine is to serve it now, with the version of `shares`, which it confirms in its tally.

    Routes that are not strangled stay as they are, and so does a specification without any that is.
    """
    routes = tuple(_route(route, shares) for route in spec.routes)
    if all(new is old for new, old in zip(routes, spec.routes, strict=True)):
        return spec
    return replace(spec, routes=routes, version=shares.version)


def _route(route: Route, shares: Shares) -> Route:
    action = route.action
    if not isinstance(action, Forward) or action.strangle is None:
        return route
    share = shares.routes.get(route.name, Share())
    if not share.is_for(action.strangle.control, action.strangle.candidate):
        share = Share()  # what another service has earned is nothing to this one
    return replace(route, action=_forward(action, share))


def _forward(action: Forward, share: Share) -> Forward:
    plan = action.strangle
    assert plan is not None
    candidate = min(WHOLE, max(0, round(share.percent * WHOLE / 100)))
    both = (_backend(action, plan.control, WHOLE - candidate), _backend(action, plan.candidate, candidate))
    apart = plan.writes == "owner"
    return replace(
        action,
        backends=both,
        strangle=plan if share.compared else None,
        writes=_owner(both, share) if apart else None,
        hold=HOLD if apart and share.owner == "nobody" else 0.0,
    )


def _backend(action: Forward, service: str, weight: int) -> Backend:
    """With the edits of headers that the specification has for it."""
    for backend in action.backends:
        if backend.service == service:
            return replace(backend, weight=weight)
    return Backend(service, weight)


def _owner(both: tuple[Backend, Backend], share: Share) -> tuple[Backend, ...]:
    return (replace(both[1] if share.owner == "candidate" else both[0], weight=1),)
