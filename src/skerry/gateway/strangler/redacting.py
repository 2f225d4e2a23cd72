"""What is taken out of a sample before it is kept: what is named, what has a name that looks secret, what looks secret itself.

It is a net with small meshes, not a proof: whoever may not keep a value at all names its path in `redact`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from skerry.gateway.strangler import paths
from skerry.gateway.strangler.normalising import Moment
from skerry.gateway.strangler.paths import Node, follow

HIDDEN: Final = "[redacted]"
MAX_VALUES: Final = 200
"""Values of one sample that are written; what comes after them is left out."""
MAX_KEY: Final = 100
_SECRET: Final = re.compile(
    r"pass_?(?:word|wd|phrase|code)|(?:^|_)pass(?:_|$)|pwd|secret|token|credential|cookie|session|jwt|bearer"
    r"|(?:^|_)auth(?:_|$)|authori[sz]ation|authentication|(?:api|private|access|client)_?key|signature"
    r"|(?:^|_)(?:sig|sid|otp|pin|mfa|nonce|pan|cvv|cvc|iban|bic|ssn|dob)[0-9]?(?:_|$)|[cx]srf"
    r"|(?:^|_)(?:credit|debit)?_?cards?(?:_|$)|card_?(?:no|num)|(?:account|routing|tax|licen[cs]e)_?(?:id|no|num)"
    r"|passport|social_?sec|e_?mail|(?:^|_)(?:tele)?phone|mobile|birth",
    re.IGNORECASE,
)
_SHAPES: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,4}"  # a token in JOSE's compact form, or the beginning of one
    r"|-----BEGIN [A-Z ]{1,40}-----[\s\S]*"
    r"|(?i:basic|bearer|negotiate|digest)\s+[^\s]{12,}"
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|xox[a-z]|AKIA|ASIA|AIza|glpat|npm|pypi)[_-]?[A-Za-z0-9_-]{12,}"
    r"|\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"  # an account's IBAN
    r"|\b[0-9A-Fa-f]{32,}\b"
    # long and of all kinds of characters: no word and no number
    r"|(?=[^\s]{0,64}[0-9])(?=[^\s]{0,64}[A-Z])(?=[^\s]{0,64}[a-z])[A-Za-z0-9+/_=-]{32,}"
)
_CARD: Final = re.compile(r"\b[0-9](?:[ -]?[0-9]){12,18}\b")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+")


class Redactor:
    """Takes out what is at or below `redact`, and what looks secret. Raises `ValueError` for a path that is none."""

    def __init__(self, redact: Sequence[str]) -> None:
        self._root: Node[bool] = Node()
        for text in redact:
            self._root.add(paths.parse(text), True)

    def value(self, value: Any, steps: Sequence[str | int]) -> Any:
        """What may be kept of a value of JSON that stands at `steps`: texts, numbers, lists and dictionaries of `json`."""
        nodes = [self._root]
        for step in steps:
            if any(node.marks for node in nodes) or (isinstance(step, str) and secret_name(step)):
                return HIDDEN
            nodes = follow(nodes, step)
        return self._inside(value, nodes, [MAX_VALUES])

    def _inside(self, value: Any, nodes: list[Node[bool]], left: list[int]) -> Any:
        if any(node.marks for node in nodes):
            return HIDDEN
        left[0] -= 1
        if isinstance(value, Moment):
            value = value.told
        if isinstance(value, dict):
            told: dict[str, Any] = {}
            for name, each in value.items():
                if left[0] <= 0:
                    told["..."] = "..."
                    break
                shown = plain(name[:MAX_KEY])
                told[shown] = HIDDEN if secret_name(name) else self._inside(each, follow(nodes, name), left)
            return told
        if isinstance(value, list):
            some: list[Any] = []
            for place, each in enumerate(value):
                if left[0] <= 0:
                    some.append("...")
                    break
                some.append(self._inside(each, follow(nodes, place), left))
            return some
        return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if plain(text) != text:
        return HIDDEN
    return _number(value) if isinstance(value, int | Decimal) else f"[{text}]"


def _number(value: int | Decimal) -> Any:
    """As JSON writes it: what a binary fraction would change stays text."""
    if isinstance(value, int):
        return value
    near = float(value)
    return near if Decimal(repr(near)) == value else str(value)


def secret_name(name: str) -> bool:
    """Whether a key, a header or a parameter of this name looks as if its value were secret."""
    return _SECRET.search(_WORDS.sub("_", name[:MAX_KEY])) is not None


def plain(text: str) -> str:
    """Text without what looks like a token, a card, an account or an address of mail; at most 2,000 characters are looked at."""
    return _CARD.sub(_card, _SHAPES.sub(HIDDEN, text[:2000]))


def _card(found: re.Match[str]) -> str:
    """Digits are a card's when its check digit is right (ISO/IEC 7812-1, annex B); others are numbers of other things."""
    digits = [int(character) for character in reversed(found[0]) if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(digits))
    return found[0] if sum(doubled) % 10 else HIDDEN


def request_line(method: str, path: str, query: str | None) -> str:
    """A request as it may be kept: no value of its query, and no segment of its path that looks secret."""
    segments = "/".join(plain(segment) for segment in path[:1000].split("/"))
    if query is None:
        return f"{method} {segments}"
    names = [plain(part.partition("=")[0][:MAX_KEY]) for part in query[:2000].split("&")[:20]]
    return f"{method} {segments}?" + "&".join(f"{name}=..." for name in names)
