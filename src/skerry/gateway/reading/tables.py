"""The tables of gateway.yaml, its top and what hangs on no route: each key with its kind, its default and a sentence."""

from __future__ import annotations

from typing import Final

from skerry.gateway.model import METHODS, AccessLog, BreakerSpec, Cors, JwtProvider, Limits, Listener, Service
from skerry.gateway.model import PolicySpec as Policy
from skerry.gateway.model import RetrySpec as Retry
from skerry.gateway.reading.kinds import (
    Either,
    Field,
    Flag,
    ListOf,
    MapOf,
    Number,
    Off,
    Record,
    Size,
    Text,
    Word,
    whole,
)
from skerry.gateway.reading.syntax import (
    HEADER_HINT,
    HEADER_NAME,
    HOSTNAME,
    HOSTNAME_HINT,
    NAME,
    NAME_HINT,
    ORIGIN,
    ORIGIN_HINT,
    URL,
    URL_HINT,
)

MAX_ROUTES: Final = 1000
MAX_SECONDS: Final = 300.0
MAX_CALL: Final = 3600.0
"""Seconds of a call: reports and long polls take their time, and a route that names an hour means it."""
MAX_HOPS: Final = 16
SYMMETRIC: Final = ("HS256", "HS384", "HS512")
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
    *SYMMETRIC,
)
METHOD: Final = Word(METHODS)
NAMED: Final = Text(NAME, NAME_HINT)
HEADER: Final = Text(HEADER_NAME, HEADER_HINT)
HOSTS: Final = ListOf(Text(HOSTNAME, HOSTNAME_HINT), 64)
FILE: Final = Text(hint="the path of a file, beside this one when it is not absolute")
_GIB: Final = 1024**3

TLS: Final = Record(
    "tls",
    {
        "certificate": Field(FILE, "PEM: the certificate first, then its chain.", required=True),
        "key": Field(FILE, "PEM: the certificate's key.", required=True),
        "client_ca": Field(FILE, "PEM: clients have to show a certificate by one of these."),
    },
)
_LISTENER = Listener()
LISTENER: Final = Record(
    "listener",
    {
        "name": Field(NAMED, "What routes call it.", _LISTENER.name),
        "address": Field(Text(r"[0-9a-zA-Z.:_-]+", "an address"), "Where it listens.", _LISTENER.address),
        "port": Field(whole(0, 65535), "0: any free one.", _LISTENER.port),
        "hostnames": Field(HOSTS, "Only these hosts; without them, all."),
        "tls": Field(TLS, "Without it, plain HTTP."),
    },
)
_SERVICE = Service("")
SERVICE: Final = Record(
    "service",
    {
        "url": Field(Text(URL, URL_HINT), "Its base address; without one, SKERRY_URL_NAME says it."),
        "urls": Field(ListOf(Text(URL, URL_HINT), 256), "Several base addresses, all alike."),
        "connect": Field(Number(0.001, 60), "Seconds for opening a connection.", _SERVICE.connect),
        "connections": Field(whole(1, 65536), "Kept open and idle by one worker.", _SERVICE.connections),
        "idle": Field(Number(0.1, 3600), "Seconds that an idle connection is kept.", _SERVICE.idle),
        "ca": Field(FILE, "PEM: whom to believe instead of the system's authorities."),
    },
    not_both=(("url", "urls"),),
)
_PROVIDER = JwtProvider("", "", ())
PROVIDER: Final = Record(
    "jwt",
    {
        "issuer": Field(Text(), "The token's iss.", required=True),
        "audiences": Field(ListOf(Text(), 16, alone=True), "One of them has to be in the token's aud.", required=True),
        "algorithms": Field(ListOf(Word(ALGORITHMS), len(ALGORITHMS)), "No other.", list(_PROVIDER.algorithms)),
        "jwks_file": Field(
            FILE, "The keys, as a JSON Web Key Set; without file and URL, the issuer is asked where they are."
        ),
        "jwks_url": Field(Text(r"https?://[^\s]+", "an https address"), "Where the keys are fetched from."),
        "cache_for": Field(Number(1, 86400), "Seconds that fetched keys hold.", _PROVIDER.cache_for),
        "leeway": Field(Number(0, 300), "Seconds that clocks may differ.", _PROVIDER.leeway),
        "require_exp": Field(Flag(), "Refuse a token without an end.", _PROVIDER.require_exp),
        "claims": Field(
            MapOf(HEADER, 16, r"[A-Za-z0-9_.:/-]{1,200}", "a claim's name"), "Claims that go on as headers."
        ),
    },
    not_both=(("jwks_file", "jwks_url"),),
)
_LIMITS = Limits()
LIMITS: Final = Record(
    "limits",
    {
        "head": Field(Size(1024, 256 * 1024), "A request's line and headers together.", _LIMITS.head),
        "target": Field(Size(256, 64 * 1024), "Its target alone.", _LIMITS.target),
        "headers": Field(whole(8, 1000), "How many headers.", _LIMITS.headers),
        "body": Field(Size(0, 1024 * _GIB), "A request's body.", _LIMITS.body),
        "reply": Field(Size(1024, _GIB), "A reply to one part of an aggregate.", _LIMITS.reply),
        "head_timeout": Field(Number(0.1, MAX_SECONDS), "Seconds for a whole head.", _LIMITS.head_timeout),
        "body_timeout": Field(
            Number(0.1, MAX_SECONDS), "Seconds in which no byte of a body or an answer moves.", _LIMITS.body_timeout
        ),
        "body_rate": Field(
            whole(0, _GIB), "The least bytes a second of a body, over any five seconds.", _LIMITS.body_rate
        ),
        "idle_timeout": Field(Number(0.1, 3600), "Seconds between two requests.", _LIMITS.idle_timeout),
        "connections": Field(whole(1, 1_000_000), "At once, in one worker.", _LIMITS.connections),
    },
)
_BREAKER = BreakerSpec()
BREAKER: Final = Record(
    "breaker",
    {
        "failure_rate": Field(
            Number(0.01, 1.0, may_be_null=True),
            "Opens at this share of failures; null: only by consecutive.",
            _BREAKER.failure_rate,
        ),
        "window": Field(Number(0.1, 3600), "Seconds that are counted.", _BREAKER.window),
        "min_calls": Field(whole(1, 100_000), "Fewer calls prove nothing.", _BREAKER.min_calls),
        "open_for": Field(Number(0.1, 3600), "Seconds until it tries again.", _BREAKER.open_for),
        "probes": Field(whole(1, 1000), "Calls that it tries with.", _BREAKER.probes),
        "consecutive": Field(whole(1, 100_000), "Opens after so many failures in a row, too."),
    },
)
_RETRY = Retry()
RETRY: Final = Record(
    "retry",
    {
        "attempts": Field(whole(1, 10), "The first one counts.", _RETRY.attempts),
        "statuses": Field(
            ListOf(whole(400, 599), 100, least=0), "Answers that count as failures.", sorted(_RETRY.statuses)
        ),
        "unsafe": Field(Flag(), "Also send again what is not idempotent.", _RETRY.unsafe),
        "backoff": Field(Number(0, 60), "Seconds before the second attempt, then doubled.", _RETRY.backoff),
        "longest": Field(Number(0, 60), "No pause is longer.", _RETRY.longest),
        "budget": Field(Number(0, 1), "The share of requests that may be sent again.", _RETRY.budget),
        "per_second": Field(Number(0, 10_000), "And so many more a second.", _RETRY.per_second),
    },
)
_POLICY = Policy()
POLICY: Final = Record(
    "policy",
    {
        "total": Field(Number(0.001, MAX_CALL, may_be_null=True), "Seconds for all; null: no bound.", _POLICY.total),
        "attempt": Field(Number(0.001, MAX_CALL, may_be_null=True), "Seconds for one attempt.", _POLICY.attempt),
        "attempts": Field(whole(1, 10), "The same as retry.attempts.", _RETRY.attempts),
        "retry": Field(Off(RETRY), "When to send again; false: never."),
        "breaker": Field(Off(BREAKER), "When to stop calling; false: never."),
        "concurrency": Field(whole(1, 10_000), "Calls at once in one worker.", _POLICY.concurrency),
        "queue": Field(whole(0, 100_000), "Calls that wait for a slot.", _POLICY.queue),
        "adaptive": Field(Flag(), "Find the number of calls at once, up to concurrency.", _POLICY.adaptive),
    },
)
RATE: Final = Record(
    "rate_limit",
    {
        "requests": Field(whole(1, 10_000_000), "So many", required=True),
        "per": Field(Number(0.001, 86400), "in any so many seconds", 1.0),
        "burst": Field(whole(1, 10_000_000), "and so many at once."),
        "key": Field(Word(("peer", "identity", "all")), "Whose requests are counted together.", "peer"),
    },
)
AUTH: Final = Record(
    "auth",
    {
        "providers": Field(ListOf(NAMED, 16, alone=True), "Any of these entries of jwt.", required=True),
        "required": Field(Flag(), "Off: who brings no token may pass.", default=True),
        "scopes": Field(ListOf(Text(r"[!#-\[\]-~]+", "a scope"), 64), "All have to be in the token."),
    },
)
_CORS = Cors(())
CORS: Final = Record(
    "cors",
    {
        "origins": Field(ListOf(Text(ORIGIN, ORIGIN_HINT), 64), "Whose pages may ask.", required=True),
        "methods": Field(ListOf(HEADER, 16), "With these methods.", list(_CORS.methods)),
        "headers": Field(ListOf(HEADER, 64), "With these headers."),
        "expose": Field(ListOf(HEADER, 64), "Headers of the answer that a page may see."),
        "credentials": Field(Flag(), "With cookies.", _CORS.credentials),
        "max_age": Field(whole(0, 86400), "Seconds that a browser remembers this.", _CORS.max_age),
    },
)
DEFAULTS: Final = Record(
    "defaults",
    {
        "policy": Field(POLICY, "What routes' policies start from."),
        "auth": Field(Either(NAMED, AUTH)),
        "cors": Field(CORS),
        "rate_limit": Field(RATE),
        "compress": Field(Flag()),
    },
)
_LOG = AccessLog()
ACCESS_LOG: Final = Record(
    "access_log",
    {
        "file": Field(FILE, "- is standard output.", _LOG.file),
        "sample": Field(Number(0, 1), "The share of answers below 500 that are written.", _LOG.sample),
    },
)
