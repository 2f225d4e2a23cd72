"""The Kubernetes Gateway API, in and out: manifests of Gateways and HTTPRoutes as a specification, and the other way round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.gateway.kubernetes import manifests as objects
from skerry.gateway.kubernetes.attaching import apart, attach, listeners, places
from skerry.gateway.kubernetes.rules import Rules
from skerry.gateway.kubernetes.writing import Export, write
from skerry.gateway.model import GatewaySpec, Limits, Listener, Match, Respond, Route, Service
from skerry.gateway.reading import checking
from skerry.gateway.reading.document import fail, uncollected, written

__all__ = ["Export", "read", "write"]

BODY = 1024**3
"""Most bytes of a request's body: the Gateway API has no such limit, and bodies are streamed."""


def read(manifests: Path, *, backends: Path | None, port: int | None = None) -> GatewaySpec:
    """The specification that the manifests in a file describe, with `port` in place of the first listener's.

    `backends` maps `name`, `name:port` or `namespace/name:port` to `host:port`; a service that is not in it does not exist, and
    its share of the requests is answered by 500. Without that file, `SKERRY_URL_NAME` says where each is. Raises
    `ConfigurationError` for all that cannot be read, naming kind, namespace, name and field.
    """
    with uncollected():
        return _read(manifests, backends, port)


def _read(manifests: Path, backends: Path | None, port: int | None) -> GatewaySpec:
    found = objects.read(manifests)
    known = places(found)
    own = listeners(known)
    if not own:
        raise ConfigurationError("there is no Gateway", source=str(manifests))
    names = _Names(None if backends is None else objects.backends(backends))
    routes: list[Route] = []
    for each in found.routes:
        attached = attach(each, known, found)
        for route in Rules(each, found, names.of).read():
            for number, where in enumerate(attached):
                name = route.name if number == 0 else f"{route.name} ({number + 1})"
                routes.append(replace(route, name=name, listeners=where.listeners, hostnames=where.hostnames))
    routes += [
        Route(f"{where.listeners[0]} {where.hostnames[0]}", (Match(),), Respond(404), where.hostnames, where.listeners)
        for where in apart(known)
    ]
    wrong = [mistake for each in found.routes for mistake in each.document.mistakes]
    if wrong:
        fail(wrong)
    spec = GatewaySpec(
        name=found.gateways[0].name[:63],
        listeners=_moved(tuple(own.values()), port),
        services=tuple(names.services.values()),
        routes=tuple(routes),
        limits=Limits(body=BODY),
        source=str(manifests),
        first_wins=True,
    )
    _check(spec)
    return spec


def _moved(own: tuple[Listener, ...], port: int | None) -> tuple[Listener, ...]:
    return own if port is None else (replace(own[0], port=port), *own[1:])


def _check(spec: GatewaySpec) -> None:
    wrong: list[ConfigurationError] = []
    for steps, message in checking.mistakes(spec):
        route = spec.routes[steps[1]] if steps[0] == "routes" and len(steps) > 1 and isinstance(steps[1], int) else None
        field = written(steps) if route is None else f"HTTPRoute {route.name}: {written(steps[2:])}"
        wrong.append(ConfigurationError(message, source=spec.source, line=route.line if route else None, field=field))
    if wrong:
        fail(wrong)


class _Names:
    """Services by namespace, name and port, and what the model calls them: as short as is clear."""

    def __init__(self, backends: dict[str, str] | None) -> None:
        self._backends = backends
        self._taken: dict[tuple[str, str, int | None], str] = {}
        self.services: dict[str, Service] = {}

    def of(self, namespace: str, name: str, port: int | None) -> str | None:
        key = (namespace, name, port)
        if key in self._taken:
            return self._taken[key]
        url = self._url(namespace, name, port)
        if url is None and self._backends is not None:
            return None
        # names of Kubernetes services have no dots, so the last is always free
        candidates = (name, f"{name}-{port}", f"{namespace}.{name}.{port}")
        ours = next(each for each in candidates if each not in self.services)
        self._taken[key] = ours
        self.services[ours] = Service(ours, () if url is None else (url,))
        return ours

    def _url(self, namespace: str, name: str, port: int | None) -> str | None:
        for wanted in (f"{namespace}/{name}:{port}", f"{namespace}/{name}", f"{name}:{port}", name):
            if self._backends is not None and wanted in self._backends:
                return self._backends[wanted]
        return None
