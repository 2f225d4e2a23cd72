"""The tables of a route's `strangle`: each key with its kind, its default and a sentence."""

from __future__ import annotations

from typing import Final

from skerry.gateway.model import GuardSpec, Shadow, Strangle
from skerry.gateway.reading.amounts import Seconds, Share, Yes
from skerry.gateway.reading.kinds import Field, Flag, ListOf, Off, Record, Size, Text, Word, whole
from skerry.gateway.reading.syntax import HEADER_HINT, HEADER_NAME, PATH, PATH_HINT
from skerry.gateway.reading.tables import HEADER, NAMED
from skerry.gateway.strangler import paths

MAX_RULES: Final = 100
MAX_BODY: Final = 4 * 1024**2
_PATH: Final = Text(paths.SYNTAX, paths.HINT, paths.MAX_LENGTH)
_PATHS: Final = ListOf(_PATH, MAX_RULES)
_SHADOW: Final = Shadow()
_GUARD: Final = GuardSpec()
_STRANGLE: Final = Strangle("", "")


def _percent(share: float) -> str:
    return f"{share * 100:g}%"


STICKY: Final = Record(
    "sticky",
    {"header": Field(Text(HEADER_NAME, HEADER_HINT)), "cookie": Field(Text(HEADER_NAME, "the name of a cookie"))},
    one_of=(("header", "cookie"),),
)
NORMALISE: Final = Record(
    "normalise",
    {
        "path": Field(_PATH, "Where.", required=True),
        "round": Field(whole(0, 15), "Numbers, to so many digits after the point."),
        "time": Field(Seconds(0, 86400), "Moments, alike when so many seconds apart at most."),
        "unordered": Field(Yes(), "An array, in any order."),
        "case": Field(Yes(), "Text, whatever its case."),
        "space": Field(Yes(), "Text, whatever its white space."),
    },
    one_of=(("round", "time", "unordered", "case", "space"),),
)
SHADOW: Final = Record(
    "shadow",
    {
        "sample": Field(Share(0.01, 100), "The share of the safe requests.", _percent(_SHADOW.sample)),
        "ignore": Field(_PATHS, "What lies there is not looked at."),
        "normalise": Field(ListOf(NORMALISE, MAX_RULES), "What is done to values on both sides first."),
        "headers": Field(ListOf(HEADER, 32, least=0), "Headers that have to be alike.", list(_SHADOW.headers)),
        "redact": Field(_PATHS, "What lies there is never kept."),
        "harmless": Field(Flag(), "The candidate has no side effects: it gets unsafe requests, too.", default=False),
        "settle": Field(Seconds(0.01, 60), "After so long a pair that differs is asked again."),
        "concurrency": Field(whole(1, 256), "At once in one worker.", _SHADOW.concurrency),
        "body": Field(Size(1024, MAX_BODY), "The longest body that is compared.", _SHADOW.body),
    },
)
GUARD: Final = Record(
    "guard",
    {
        "alpha": Field(Share(0.001, 20), "How likely a good candidate is taken back.", _percent(_GUARD.alpha)),
        "interval": Field(Seconds(0.1, 3600), "Evidence is counted in such intervals.", _GUARD.interval),
        "worse_by": Field(Share(0.001, 50), "So much worse is too much to go on.", _percent(_GUARD.worse_by)),
        "slower_by": Field(Share(0.1, 100), "Likewise of slow requests.", _percent(_GUARD.slower_by)),
        "mismatches": Field(Share(0, 100), "Pairs that may differ.", _percent(_GUARD.mismatches)),
        "enough": Field(whole(1, 10_000_000), "Requests that a step has to have.", _GUARD.enough),
        "limit": Field(Share(0.1, 100), "More failures than this: back at once.", _percent(_GUARD.limit)),
        "limit_requests": Field(whole(1, 1_000_000), "Of so many requests at least.", _GUARD.limit_requests),
    },
)
STRANGLE: Final = Record(
    "strangle",
    {
        "from": Field(NAMED, "The service that has the route.", required=True),
        "to": Field(NAMED, "The one that shall have it.", required=True),
        "steps": Field(
            ListOf(Share(0.01, 100, 1.0), 32),
            "The shares of the new one, rising, the last 100%.",
            [f"{step:g}%" for step in _STRANGLE.steps],
        ),
        "sticky": Field(STICKY, "The same value, the same service, while the shares stay."),
        "shadow": Field(Off(SHADOW, on=True), "How answers are compared; false: not."),
        "guard": Field(GUARD, "When to go on, and when back."),
        "writes": Field(Word(("owner", "ramp")), "Who gets unsafe requests.", _STRANGLE.writes),
        "position": Field(Text(PATH, PATH_HINT, 4096), "A path of both that says how far each is."),
    },
)
