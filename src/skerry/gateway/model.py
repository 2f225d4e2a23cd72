"""What a gateway's specification says, as values: both engines, the readers and the writers speak of these and of nothing else.

Times are seconds, sizes are bytes, fractions are 0 to 1, percentages 0 to 100. A value that exists is consistent: readers check
what they read, and `skerry.gateway.reading.check` checks what was put together in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods that a route may name. One that names none takes every method that a client may send, which are these."""
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that ask and change nothing (RFC 9110, 9.2.1)."""
RESERVED = "/health"
"""Paths at and below it are the gateway's own."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """`exact` is the whole path; `prefix` is whole segments (`/a` has `/a` and `/a/b`, not `/ab`); `regex` matches the whole path
    and is linear in its length (RE2); in `template` each `{name}` stands for one segment that is not empty.
    """

    kind: Literal["exact", "prefix", "regex", "template"] = "prefix"
    value: str = "/"


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A header, query parameter or cookie by name. Names of headers are lower case here and match in any case; the others match
    as they are written. `regex` has to match the whole value. Of a repeated query parameter, the first counts; repeated headers
    are joined by commas.
    """

    name: str
    value: str
    regex: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """All of it has to hold. `methods` None takes all; GET takes HEAD only when HEAD is named."""

    path: PathMatch = PathMatch()
    methods: frozenset[str] | None = None
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    cookies: tuple[ValueMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """In this order: `remove`, `set`, `add`. Names are as they are to be sent; they match in any case."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """A share of a route's requests, in proportion to `weight` (0: none). `service` None is one that does not exist: 500."""

    service: str | None
    weight: int = 1
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()


@dataclass(frozen=True, slots=True)
class Sticky:
    """Requests with the same value of a header or cookie go to the same backend while the weights stay."""

    source: Literal["header", "cookie"]
    name: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of a share of the requests, its answer thrown away. Never delays, and is dropped before anything else is."""

    service: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the service sees. `prefix` replaces the matched prefix, `full` the whole path, `host` the Host header."""

    prefix: str | None = None
    full: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Normalise:
    """What is done to a value on both sides before they are compared, at a JSON path.

    `round` to `digits` after the point; `time`: moments as ISO 8601 text or seconds are alike when at most `within` seconds
    apart; `unordered`: an array in any order; `case` and `space`: text without regard to them.
    """

    path: str
    rule: Literal["round", "time", "unordered", "case", "space"]
    digits: int = 0
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Shadow:
    """How the answers of a candidate are compared with those of the control, before and while it gets requests.

    A share `sample` of the safe requests is answered by the control, whatever the weights are; afterwards the candidate is asked
    the same, and the control once more: where it differs from itself is noise. Unsafe requests are never asked twice, unless the
    candidate is `harmless`: then it gets a copy of them, and only it. JSON paths are `$.lines[*].price`; `*` is any key or place.
    What lies at or below `ignore` is not looked at. Status, `headers` and body have to be alike. A pair that differs is
    asked again after `settle` seconds, when that is given, and counts only if it still differs there, or does again: for a
    candidate that is fed by events. At most `concurrency` at once in one worker, and none whose body or answer is longer
    than `body` bytes; what lies at or below `redact` is never kept in a sample, nor are values of keys that look secret.
    """

    sample: float = 0.1
    ignore: tuple[str, ...] = ()
    normalise: tuple[Normalise, ...] = ()
    headers: tuple[str, ...] = ("content-type",)
    redact: tuple[str, ...] = ()
    harmless: bool = False
    settle: float | None = None
    concurrency: int = 8
    body: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """When a candidate goes on, and when it goes back.

    Evidence is counted in intervals of `interval` seconds against the control's at the same time, each interval bounded in
    what it can say. `alpha` bounds the probability, over a whole ramp, of going back although the candidate is as good. To go on
    it has to be shown that after the next step no more than `worse_by` of all the route's requests fail in addition (so at
    5 % of them, twenty times as much of its own may, which is the most for any step); and at least `enough` requests of a step
    have to be its own. `mismatches` is the share of compared pairs that may differ, for steps likewise; `slower_by` how
    many more of its requests may be slower than 95 % of the control's. Apart from all that it goes back at once when more
    than `limit` of its last `limit_requests` requests failed.
    """

    alpha: float = 0.01
    interval: float = 5.0
    worse_by: float = 0.002
    slower_by: float = 0.1
    mismatches: float = 0.001
    enough: int = 200
    limit: float = 0.2
    limit_requests: int = 50


@dataclass(frozen=True, slots=True)
class Strangle:
    """A route on its way from a service that has it, `control`, to one that shall, `candidate`.

    `steps` are the candidate's shares in percent, rising, the last 100. Of a route whose `writes` are `owner`, unsafe
    requests go to the owner, the control until ownership is handed over; `ramp` gives them to both by the weights.
    `position` is a path of both services which says how far each is (see `skerry.gateway.strangler.handing_over`); without
    it ownership is handed over unasked. Without `counted` somebody else counts what the sides do, as Envoy for the engine behind
    it.
    """

    control: str
    candidate: str
    steps: tuple[float, ...] = (1.0, 5.0, 25.0, 50.0, 100.0)
    shadow: Shadow | None = Shadow()
    guard: GuardSpec = GuardSpec()
    writes: Literal["owner", "ramp"] = "owner"
    position: str | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Forward:
    """Send it to one of the backends. Without backends the answer is 500.

    `strangle` is a plan as long as the specification is one that was read: then all goes to its control. What the ramp is at is
    put in by `skerry.gateway.strangler.applied`, which an engine is given: `backends` are then control and candidate, in this
    order, with their weights of the moment, and `strangle` stays only while they are to be counted and compared. Unsafe requests
    go to `writes` where that is given, and when `hold` is above 0 they wait so many seconds for another specification (then:
    503).
    """

    backends: tuple[Backend, ...]
    sticky: Sticky | None = None
    mirrors: tuple[Mirror, ...] = ()
    rewrite: Rewrite = Rewrite()
    strangle: Strangle | None = None
    writes: tuple[Backend, ...] | None = None
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Redirect:
    """A `Location` and no body. What is None stays as the client asked; a port that is the scheme's own is left out."""

    scheme: Literal["http", "https"] | None = None
    host: str | None = None
    port: int | None = None
    prefix: str | None = None
    full: str | None = None
    status: Literal[301, 302, 303, 307, 308] = 302


@dataclass(frozen=True, slots=True)
class Respond:
    """A fixed answer."""

    status: int
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """When to stop calling a service that fails. The words are those of `CircuitBreaker`. `consecutive` opens after so many
    failures in a row, whatever the rate; with it `failure_rate` may be None.
    """

    failure_rate: float | None = 0.5
    window: float = 10.0
    min_calls: int = 20
    open_for: float = 5.0
    probes: int = 3
    consecutive: int | None = None


@dataclass(frozen=True, slots=True)
class RetrySpec:
    """`attempts` counts the first one too. A request that reached no service is sent again whatever its method; one that may have
    been acted on only when its method is idempotent or `unsafe` is set. `statuses` are answers that count as failures here.
    Attempts that ran into `attempt` of the policy count as failures. At most `budget` of all requests, and `per_second` more, are
    sent again. Pauses before them: `backoff` doubled each time, at most `longest`, jittered.
    """

    attempts: int = 3
    statuses: frozenset[int] = frozenset({502, 503, 504})
    unsafe: bool = False
    backoff: float = 0.025
    longest: float = 0.25
    budget: float = 0.1
    per_second: float = 1.0


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """How a route calls its services. `total` bounds all attempts and the waiting, until the answer begins, `attempt` each one
    (from the last byte of the request to the first of the answer); None is no bound. An answer that has begun may take as long as
    it moves: it is cut off when nothing came for `body_timeout` seconds, or `total`, if that is longer. `concurrency` calls at
    once in one worker, `queue` more wait;
    `adaptive` finds that number by itself, at most `concurrency`.
    """

    total: float | None = 5.0
    attempt: float | None = 2.0
    retry: RetrySpec = RetrySpec()
    breaker: BreakerSpec | None = BreakerSpec()
    concurrency: int = 64
    queue: int = 64
    adaptive: bool = False


@dataclass(frozen=True, slots=True)
class RateSpec:
    """`requests` in any `per` seconds and `burst` at once, in one worker, for each key: the peer's address (behind
    `trusted_hops`), the verified subject of the token (then the peer's address for those without), or all together.
    """

    requests: int
    per: float = 1.0
    burst: int | None = None
    key: Literal["peer", "identity", "all"] = "peer"


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """Whose tokens are believed.

    `jwks_file` or `jwks_url` holds the keys; with neither the issuer, which is then a URL, says where they are (OpenID Connect
    Discovery 1.0). A token never does. A key works only with its own type's algorithms out of `algorithms`; `none` and, beside
    public keys, HMAC are never among them. `exp` has to be there unless `require_exp` is off. `claims` go on as headers: (claim,
    header).
    """

    name: str
    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    jwks_file: str | None = None
    jwks_url: str | None = None
    cache_for: float = 300.0
    leeway: float = 30.0
    require_exp: bool = True
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Auth:
    """`providers` whose tokens open the route (any of them). `required` off lets those pass that bring no token; a wrong one
    never.
    `scopes` have all to be in the token's `scope` or `scp`.
    """

    providers: tuple[str, ...]
    required: bool = True
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cors:
    """The Fetch standard's protocol: preflights are answered here. `*` alone as an origin is any; `https://*.example.com` is any
    subdomain. Credentials never go with any origin.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 600


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a part's JSON object: `pick` keeps only these (dots go deeper), `rename` then renames at the top. Both empty: all."""

    pick: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One service's share of an aggregate. `path`, also behind its question mark, may hold the variables of the route's path
    template. `query` names the parameters of the client's query that go on to it; all others stay behind.
    `fallback` is JSON text that stands in for it; a part with one is still listed in `missing`.
    """

    name: str
    service: str
    path: str
    required: bool = False
    timeout: float | None = None
    policy: PolicySpec = PolicySpec()
    fallback: str | None = None
    shape: Shape = Shape()
    query: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Several services asked at the same time, within `deadline` seconds, their answers put into one object."""

    deadline: float
    parts: tuple[Part, ...]


Action = Forward | Redirect | Respond | Aggregate


@dataclass(frozen=True, slots=True)
class Route:
    """Requests that fit one of `matches`, on `hostnames` (empty: any) and `listeners` (empty: all), and what becomes of them.

    Of several routes that fit, the first by the Gateway API's order answers: the more specific hostname; an exact path; the
    longest prefix; a method; more headers; more query parameters; then the one that stands first. A template counts as exact, one
    with fewer variables first; a regex comes after every prefix that is not `/`, longer text first; cookies count as headers.
    `line` is where it stands in `source`, 0 when it was not read.
    """

    name: str
    matches: tuple[Match, ...]
    action: Action
    hostnames: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    policy: PolicySpec = PolicySpec()
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    auth: Auth | None = None
    rate: RateSpec | None = None
    cors: Cors | None = None
    compress: bool = False
    body: int | None = None
    """Most bytes of a request's body; None: as `Limits` says."""
    priority: int = 5
    """Of its requests, 0 to 9: the lowest are refused first when the gateway has too much to do. It travels to services."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the chain with the certificate first, and its key. `client_ca` demands a client's certificate by it."""

    certificate: str
    key: str
    client_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Where clients come in. `port` 0 is any free one, told in the log. `hostnames` (empty: any) bound those of the routes."""

    name: str = "http"
    address: str = "127.0.0.1"
    port: int = 8080
    hostnames: tuple[str, ...] = ()
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """An upstream: base addresses, all alike (`http://HOST:PORT` or https). Empty: the gateway's surroundings tell them, by
    `SKERRY_URL_NAME` or discovery. `connections` are kept open and idle at most so many in one worker; `connect` bounds opening
    one. `ca` is a PEM file of whom to believe instead of the system's.
    """

    name: str
    urls: tuple[str, ...] = ()
    connect: float = 1.0
    connections: int = 128
    idle: float = 30.0
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Sizes in bytes, times in seconds; answers are streamed and have no limit of size of their own.

    `head_timeout` is for a whole head from its first byte, `body_timeout` for the time in which no byte of a body or answer
    moves, `body_rate` the least bytes a second of a body over any five of them, `idle_timeout` for a connection between requests.
    `connections` are those of one worker; more are closed as they come. `reply` bounds one part of an aggregate.
    """

    head: int = 32 * 1024
    target: int = 8 * 1024
    headers: int = 100
    body: int = 1024**2
    reply: int = 8 * 1024**2
    head_timeout: float = 10.0
    body_timeout: float = 10.0
    body_rate: int = 256
    idle_timeout: float = 60.0
    connections: int = 16_384


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One JSON line a request to standard output or a file. `sample` is the share of answers below 500 that are written."""

    file: str = "-"
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """A whole gateway. `trusted_hops` is how many proxies of one's own stand before it: so many addresses, from the right, of
    X-Forwarded-For are believed. Routes that match alike are a mistake, unless `first_wins`: then the later one is as good as
    absent. `version` is that of the shares which `skerry.gateway.strangler.applied` put in; None: it put in nothing.
    """

    name: str = "gateway"
    listeners: tuple[Listener, ...] = (Listener(),)
    services: tuple[Service, ...] = ()
    providers: tuple[JwtProvider, ...] = ()
    routes: tuple[Route, ...] = ()
    limits: Limits = field(default_factory=Limits)
    trusted_hops: int = 0
    access_log: AccessLog | None = None
    source: str = "<spec>"
    first_wins: bool = False
    version: int | None = None

    @property
    def called(self) -> frozenset[str]:
        """The names of all services that the routes call."""
        found: set[str] = set()
        for route in self.routes:
            action = route.action
            if isinstance(action, Forward):
                found |= {backend.service for backend in action.backends if backend.service is not None}
                found |= {mirror.service for mirror in action.mirrors}
                if action.strangle is not None:
                    found |= {action.strangle.control, action.strangle.candidate}
            elif isinstance(action, Aggregate):
                found |= {part.service for part in action.parts}
        return frozenset(found)


Addresses = Mapping[str, tuple[str, ...]]
"""Base addresses of services, by name."""
