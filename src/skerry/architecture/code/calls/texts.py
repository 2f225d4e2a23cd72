"""Methods of texts that leave an address one: what they are called on is followed through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from skerry.architecture.code.calls.values import Is, Value

METHODS: Final[Mapping[str, Callable[..., str]]] = {
    "strip": str.strip,
    "lstrip": str.lstrip,
    "rstrip": str.rstrip,
    "removeprefix": str.removeprefix,
    "removesuffix": str.removesuffix,
    "replace": str.replace,
    "lower": str.lower,
}
_MAX_TEXT: Final = 500


def changed(text: Value, method: str, given: Sequence[Value]) -> Value:
    """What a method makes of `text`. With arguments that are not known the text is not known either; what it is made of stays."""
    if all(each.kind is Is.TEXT and "{" not in each.name for each in given):
        try:
            return replace(text, name=METHODS[method](text.name, *(each.name for each in given))[:_MAX_TEXT])
        except TypeError:  # so would theirs
            pass
    return replace(text, name="{}")
