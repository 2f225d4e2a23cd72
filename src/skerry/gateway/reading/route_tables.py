"""The tables of gateway.yaml, routes and the whole: each key with its kind, its default and a sentence."""

from __future__ import annotations

from typing import Final

from skerry.gateway.model import METHODS
from skerry.gateway.reading.kinds import (
    Either,
    Field,
    Flag,
    Json,
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
from skerry.gateway.reading.strangle_tables import STICKY, STRANGLE
from skerry.gateway.reading.syntax import (
    HEADER_HINT,
    HEADER_NAME,
    HOST,
    HOST_HINT,
    MAX_PATTERN,
    NAME,
    NAME_HINT,
    PARAMETER,
    PARAMETER_HINT,
    PART_HINT,
    PART_NAME,
    PART_PATH,
    PATH,
    PATH_HINT,
    TEMPLATE,
    TEMPLATE_HINT,
    VALUE,
    VALUE_HINT,
)
from skerry.gateway.reading.tables import (
    ACCESS_LOG,
    AUTH,
    CORS,
    DEFAULTS,
    HOSTS,
    LIMITS,
    LISTENER,
    MAX_HOPS,
    MAX_ROUTES,
    MAX_SECONDS,
    METHOD,
    NAMED,
    POLICY,
    PROVIDER,
    RATE,
    SERVICE,
)

MAX_PARTS: Final = 20
MAX_WEIGHT: Final = 1_000_000
_GIB: Final = 1024**3
_PATH: Final = Text(PATH, PATH_HINT, 4096)
_TEMPLATE: Final = Text(TEMPLATE, TEMPLATE_HINT, 4096)
_REGEX: Final = Text(r"[^\x00-\x1f\x7f]+", "a regular expression of RE2", MAX_PATTERN)
_VALUE: Final = Text(VALUE, VALUE_HINT, 8192)
_WEIGHT: Final = whole(0, MAX_WEIGHT)

PATH_MATCH: Final = Record(
    "path",
    {
        "exact": Field(_PATH, "The whole path."),
        "prefix": Field(_PATH, "The path and what is below it, by whole segments."),
        "regex": Field(_REGEX, "The whole path matches this regular expression of RE2."),
        "template": Field(_TEMPLATE, "The whole path; each {name} stands for one segment."),
    },
    one_of=(("exact", "prefix", "regex", "template"),),
)
PATH_FIELD: Final = Field(
    Either(Text(f"{PATH}|{TEMPLATE}", PATH_HINT, 4096), PATH_MATCH),
    "As text: a prefix by segments; of an aggregate, a template.",
    "/",
)
_WANTED: Final = Either(_VALUE, Record("wanted", {"regex": Field(_REGEX, required=True)}))
_HEADERS: Final = MapOf(_WANTED, 16, HEADER_NAME, HEADER_HINT)
_QUERY: Final = MapOf(_WANTED, 16, PARAMETER, PARAMETER_HINT)
MATCHING: Final = {
    "path": PATH_FIELD,
    "methods": Field(ListOf(METHOD, len(METHODS)), "Only these; GET brings HEAD. Without it, all."),
    "headers": Field(_HEADERS, "Headers with their values; all have to be there."),
    "query": Field(_QUERY, "Parameters of the query, likewise."),
    "cookies": Field(_HEADERS, "Cookies, likewise."),
}
MATCH: Final = Record("match", MATCHING)

_EDITS: Final = MapOf(_VALUE, 64, HEADER_NAME, HEADER_HINT)
EDIT: Final = Record(
    "edit",
    {
        "remove": Field(ListOf(Text(HEADER_NAME, HEADER_HINT), 64), "First these are taken away,"),
        "set": Field(_EDITS, "then these replace what was there,"),
        "add": Field(_EDITS, "then these are put beside what is there."),
    },
)
BACKEND: Final = Record(
    "backend",
    {
        "weight": Field(_WEIGHT, "Its share, in proportion to the others'.", 1),
        "request_headers": Field(EDIT),
        "response_headers": Field(EDIT),
    },
)
MIRROR: Final = Record(
    "mirror",
    {
        "service": Field(NAMED, "Who gets a copy; its answer is thrown away.", required=True),
        "percent": Field(Number(0.001, 100), "Of so many requests.", 100.0),
    },
)
REWRITE: Final = Record(
    "rewrite",
    {
        "prefix": Field(_PATH, "Replaces the prefix that matched."),
        "full": Field(_PATH, "Replaces the whole path."),
        "host": Field(Text(HOST + r"(?::[0-9]{1,5})?", HOST_HINT), "Replaces Host."),
    },
    not_both=(("prefix", "full"),),
)
REDIRECT: Final = Record(
    "redirect",
    {
        "scheme": Field(Word(("http", "https"))),
        "host": Field(Text(HOST, HOST_HINT)),
        "port": Field(whole(1, 65535)),
        "prefix": Field(_PATH, "Replaces the prefix that matched."),
        "full": Field(_PATH, "Replaces the whole path."),
        "status": Field(Word((301, 302, 303, 307, 308)), default=302),
    },
    not_both=(("prefix", "full"),),
)
RESPOND: Final = Record(
    "respond",
    {
        "status": Field(whole(200, 599), required=True),
        "body": Field(Text(r"[\s\S]*", "text", 64 * 1024), default=""),
        "content_type": Field(_VALUE, default="text/plain; charset=utf-8"),
    },
)
PART: Final = Record(
    "part",
    {
        "service": Field(NAMED, required=True),
        "path": Field(
            Text(PART_PATH, "a path with variables of the route's path", 4096),
            "May hold variables of the route's path, also in a query.",
            required=True,
        ),
        "query": Field(ListOf(Text(PARAMETER, PARAMETER_HINT), 32), "Parameters of the client's query that go on."),
        "required": Field(Flag(), "Without it there is no answer.", default=False),
        "timeout": Field(Number(0.001, MAX_SECONDS), "Seconds, at most the aggregate's deadline."),
        "policy": Field(POLICY, "Starts from the route's."),
        "fallback": Field(Json(), "Stands in for it when it is missing."),
        "pick": Field(ListOf(Text(), 200), "Of its object, only these fields; dots go deeper."),
        "rename": Field(MapOf(Text(), 200, r".+", "a field"), "Fields by their new names."),
    },
)
AGGREGATE: Final = Record(
    "aggregate",
    {
        "deadline": Field(Number(0.001, MAX_SECONDS), "Seconds for all parts; without it, the policy's total."),
        "parts": Field(MapOf(PART, MAX_PARTS, PART_NAME, PART_HINT), required=True),
    },
)
ROUTE: Final = Record(
    "route",
    {
        "name": Field(Text(most=200), "In logs and metrics; without it, its path."),
        **MATCHING,
        "match": Field(ListOf(MATCH, 64), "Several ways to match, instead of the keys above."),
        "hostnames": Field(HOSTS, "Only on these hosts."),
        "listeners": Field(ListOf(NAMED, 64), "Only on these listeners."),
        "service": Field(NAMED, "Who answers."),
        "services": Field(
            MapOf(Either(_WEIGHT, BACKEND), 32, NAME, NAME_HINT), "Who answer, each with its weight or a mapping."
        ),
        "strangle": Field(STRANGLE, "A service, and the one that shall take over from it."),
        "redirect": Field(REDIRECT, "What is not said stays as the client asked."),
        "respond": Field(RESPOND, "A fixed answer."),
        "aggregate": Field(AGGREGATE, "An answer put together from several services'."),
        "rewrite": Field(Either(_PATH, REWRITE), "What the service sees. As text: its prefix."),
        "sticky": Field(STICKY, "The same value, the same service."),
        "mirrors": Field(ListOf(Either(NAMED, MIRROR), 8, alone=True), "Who gets copies."),
        "policy": Field(POLICY, "Starts from the defaults."),
        "request_headers": Field(EDIT, "Edits of what the service gets."),
        "response_headers": Field(EDIT, "Edits of what the client gets."),
        "auth": Field(Off(Either(NAMED, AUTH)), "Whose tokens open it; false: open to all."),
        "rate_limit": Field(Off(RATE)),
        "cors": Field(Off(CORS)),
        "compress": Field(Flag(), "Compress answers for clients that take it."),
        "body": Field(Size(0, 1024 * _GIB), "A request's body, instead of limits.body."),
        "priority": Field(whole(0, 9), "The lowest are refused first when there is too much to do.", 5),
    },
    one_of=(("service", "services", "strangle", "redirect", "respond", "aggregate"),),
    not_both=(
        ("strangle", "sticky"),
        *(("match", key) for key in MATCHING),
        *((action, key) for action in ("redirect", "respond", "aggregate") for key in ("rewrite", "sticky", "mirrors")),
        *((action, key) for action in ("redirect", "respond") for key in ("policy", "request_headers")),
    ),
    keep_line=True,
)
GATEWAY: Final = Record(
    "gateway",
    {
        "name": Field(NAMED, "In logs and errors.", "gateway"),
        "listeners": Field(ListOf(LISTENER, 64), "Where clients come in."),
        "services": Field(
            MapOf(SERVICE, 1000, NAME, NAME_HINT), "Services whose addresses or connections are said here."
        ),
        "jwt": Field(MapOf(PROVIDER, 64, NAME, NAME_HINT), "Whose tokens are believed."),
        "limits": Field(LIMITS, "What one client may take."),
        "trusted_hops": Field(whole(0, MAX_HOPS), "Own proxies before this one, whose X-Forwarded-For is believed.", 0),
        "access_log": Field(Off(ACCESS_LOG, on=True), "A line in JSON for each request."),
        "defaults": Field(DEFAULTS, "What routes start from."),
        "routes": Field(ListOf(ROUTE, MAX_ROUTES), required=True),
    },
)
