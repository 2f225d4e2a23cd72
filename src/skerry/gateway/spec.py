"""The gateway's specification: what a YAML file says, checked as a whole before anything is served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from skerry.gateway import document
from skerry.gateway.document import Section

MAX_ROUTES = 1000
MAX_PARTS = 20
MAX_SECONDS = 300.0
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RESERVED = "/health"

_NAME = r"[a-z][a-z0-9-]{0,62}"
_PART_NAME = r"[a-z][a-z0-9_]{0,62}"
_SEGMENT = r"[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_LITERAL_PATH = rf"/|(?:/{_SEGMENT})+"
_TEMPLATE_PATH = rf"/|(?:/(?:{_SEGMENT}|\{{[a-z][a-z0-9_]*\}}))+"
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_DOT_SEGMENT = re.compile(r"/\.\.?(?=/|;|$)")


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """When to stop calling a service that fails. Seconds and fractions; the words are those of `CircuitBreaker`."""

    failure_rate: float = 0.5
    window: float = 10.0
    min_calls: int = 20
    open_for: float = 5.0
    probes: int = 3


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """How a route calls its service. Times in seconds; `attempts` counts the first one too."""

    total: float = 5.0
    attempt: float = 2.0
    attempts: int = 3
    concurrency: int = 64
    queue: int = 64
    breaker: BreakerSpec = field(default_factory=BreakerSpec)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a request's and of a reply's body, and seconds a client may take to send its body."""

    body: int = 1024**2
    reply: int = 8 * 1024**2
    body_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """One service's share of an aggregate. `path` may hold the variables of the route's path."""

    name: str
    service: str
    path: str
    required: bool
    policy: PolicySpec


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Several services asked at the same time, within `deadline` seconds, their answers put into one object."""

    deadline: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Proxy:
    """One service that answers everything under the route's path; `rewrite` replaces that prefix."""

    service: str
    rewrite: str
    policy: PolicySpec


@dataclass(frozen=True, slots=True)
class Route:
    """A path, the methods it takes (None: all of `METHODS`), and who answers.

    A proxied path matches itself and everything below it; the path of an aggregate matches as a whole, a `{variable}` in it
    one segment.
    """

    path: str
    methods: frozenset[str] | None
    target: Proxy | Aggregate
    line: int

    @property
    def shape(self) -> str:
        """The path with its variables' names taken out: two routes of one shape match the same paths."""
        return _VARIABLE.sub("{}", self.path)


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """A whole gateway."""

    name: str
    limits: Limits
    routes: tuple[Route, ...]

    @classmethod
    def load(cls, path: Path) -> GatewaySpec:
        """Read and check the file. Raises `ConfigurationError` with the file and the line of the first mistake."""
        return _gateway(document.read(path))

    @classmethod
    def parse(cls, text: str, *, source: str = "<spec>") -> GatewaySpec:
        """The same for a text at hand; `source` is what errors call it."""
        return _gateway(document.parse(text, source))

    @property
    def services(self) -> frozenset[str]:
        """The names of all services that the routes call."""
        targets = [route.target for route in self.routes]
        named = [part.service for target in targets if isinstance(target, Aggregate) for part in target.parts]
        return frozenset([*named, *(target.service for target in targets if isinstance(target, Proxy))])


def _gateway(top: Section) -> GatewaySpec:
    name = top.text("name", _NAME, default="gateway")
    limits = _limits(top.section("limits"))
    policy = PolicySpec()
    defaults = top.section("defaults")
    if defaults is not None:
        policy = _policy(defaults.section("policy"), policy)
        defaults.close()
    routes: list[Route] = []
    for section in top.sections("routes", most=MAX_ROUTES):
        route = _route(section, policy)
        _refuse_duplicate(route, routes, section)
        routes.append(route)
    top.close()
    return GatewaySpec(name, limits, tuple(routes))


def _refuse_duplicate(route: Route, earlier: list[Route], section: Section) -> None:
    for other in earlier:
        same_methods = route.methods == other.methods or bool((route.methods or set()) & (other.methods or set()))
        if same_methods and route.shape == other.shape and type(route.target) is type(other.target):
            raise section.error(f"path: {route.path} is routed already on line {other.line}")


def _limits(section: Section | None) -> Limits:
    default = Limits()
    if section is None:
        return default
    limits = Limits(
        body=section.size("body", 0, 1024**3, default=default.body),
        reply=section.size("reply", 1024, 1024**3, default=default.reply),
        body_timeout=section.number("body_timeout", 0.1, MAX_SECONDS, default=default.body_timeout),
    )
    section.close()
    return limits


def _policy(section: Section | None, default: PolicySpec) -> PolicySpec:
    if section is None:
        return default
    policy = PolicySpec(
        total=section.number("total", 0.001, MAX_SECONDS, default=default.total),
        attempt=section.number("attempt", 0.001, MAX_SECONDS, default=default.attempt),
        attempts=section.count("attempts", 1, 10, default=default.attempts),
        concurrency=section.count("concurrency", 1, 10_000, default=default.concurrency),
        queue=section.count("queue", 0, 100_000, default=default.queue),
        breaker=_breaker(section.section("breaker"), default.breaker),
    )
    section.close()
    return policy if policy.attempt <= policy.total else replace(policy, attempt=policy.total)


def _breaker(section: Section | None, default: BreakerSpec) -> BreakerSpec:
    if section is None:
        return default
    breaker = BreakerSpec(
        failure_rate=section.number("failure_rate", 0.01, 1.0, default=default.failure_rate),
        window=section.number("window", 0.1, 3600.0, default=default.window),
        min_calls=section.count("min_calls", 1, 100_000, default=default.min_calls),
        open_for=section.number("open_for", 0.1, 3600.0, default=default.open_for),
        probes=section.count("probes", 1, 1000, default=default.probes),
    )
    section.close()
    return breaker


def _route(section: Section, default: PolicySpec) -> Route:
    aggregated = "aggregate" in section
    path = _path(section, "path", _TEMPLATE_PATH if aggregated else _LITERAL_PATH)
    if path == RESERVED or path.startswith(RESERVED + "/"):
        raise section.error(f"path: {RESERVED} is the gateway's own")
    methods = section.texts("methods", "|".join(METHODS))
    policy = _policy(section.section("policy"), default)
    target: Proxy | Aggregate
    if aggregated:
        target = _aggregate(section, path, policy)
    else:
        service = section.text("service", _NAME)
        rewrite = _path(section, "rewrite", _LITERAL_PATH) if "rewrite" in section else path
        target = Proxy(service, rewrite, policy)
    line = section.line
    section.close()
    return Route(path, None if methods is None else frozenset(methods), target, line)


def _aggregate(route: Section, path: str, default: PolicySpec) -> Aggregate:
    section = route.section("aggregate")
    assert section is not None
    deadline = section.number("deadline", 0.001, MAX_SECONDS, default=default.total)
    named = section.section("parts")
    if named is None:
        raise section.error("aggregate: 'parts' is missing")
    names = _VARIABLE.findall(path)
    variables = frozenset(names)
    if len(names) != len(variables):
        raise route.error(f"path: {path} has a variable twice")
    parts = [
        _part(name, part, variables, default) for name, part in named.named_sections(pattern=_PART_NAME, most=MAX_PARTS)
    ]
    section.close()
    return Aggregate(deadline, tuple(parts))


def _part(name: str, section: Section, variables: frozenset[str], default: PolicySpec) -> Part:
    if name == "missing":
        raise section.error("parts: 'missing' is the name of the list of missing parts")
    path = _path(section, "path", _TEMPLATE_PATH)
    unknown = sorted(set(_VARIABLE.findall(path)) - variables)
    if unknown:
        raise section.error(f"path: {{{unknown[0]}}} is not a variable of the route's path")
    part = Part(
        name=name,
        service=section.text("service", _NAME),
        path=path,
        required=section.flag("required", default=False),
        policy=_policy(section.section("policy"), default),
    )
    section.close()
    return part


def _path(section: Section, key: str, pattern: str) -> str:
    path = section.text(key, pattern)
    if _DOT_SEGMENT.search(path):
        raise section.error(f"{key}: {path!r} has a dot segment")
    return path


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with its variables replaced by `values`, which are already encoded."""
    return _VARIABLE.sub(lambda match: values[match[1]], template)
