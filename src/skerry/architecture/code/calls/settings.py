"""Values that come from the environment or from settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from skerry.architecture.code.calls.raw import Expr
from skerry.architecture.code.calls.values import Is, Scope, Value

if TYPE_CHECKING:
    from skerry.architecture.code.calls.world import World

_READS: Final = re.compile(
    r"(?:^|\.)(?:getenv|environ\.(?:get|pop)|decouple\.config|env\.(?:str|int|float|url)|environs?\.Env|config\.get|conf\.get)$"
)
_FILE: Final = re.compile(
    r"(?:^|/)(?:settings|config|configuration|conf|constants|local_settings|default_settings)(?:/\w+)?\.py$"
)
_UNITS: Final = {
    "days": 86400.0,
    "hours": 3600.0,
    "minutes": 60.0,
    "seconds": 1.0,
    "milliseconds": 0.001,
    "weeks": 604800.0,
}


def reads_variable(name: str) -> bool:
    """Whether a function of a library reads an environment variable or a setting by its name."""
    return bool(_READS.search(name))


def variable(world: World, expr: Expr, scope: Scope) -> Value:
    """What such a call stands for: its default, and the variable."""
    name = world.value(expr.positional(0), scope)
    default = expr.given("default", 1) or expr.given("fallback", 1)
    value = world.value(default, scope) if default is not None else Value()
    if value.kind is Is.NUMBER:
        return value
    text = value.name if value.kind is Is.TEXT else "{}"
    return Value(Is.TEXT, text, variables=(name.name, *value.variables) if name.kind is Is.TEXT and name.name else ())


def number(text: str) -> float | None:
    """The number that a text is, None where it is none."""
    try:
        return float(text) if len(text) < 40 else None
    except ValueError:
        return None


def seconds(world: World, expr: Expr, scope: Scope) -> float | None:
    """How long a `timedelta` is; None when not all of it is known."""
    total = 0.0
    for key, given in zip(expr.keys, expr.args[1:], strict=False):
        value = world.value(given, scope)
        unit = _UNITS.get(key or "days")
        if unit is None or value.seconds is None:
            return None
        total += unit * value.seconds
    return total


def is_settings(base: str) -> bool:
    """Whether what is made from this class of a library takes its fields from the environment."""
    return base.rpartition(".")[2] == "BaseSettings"


def is_settings_class(world: World, cls: Value) -> bool:
    """Whether a class of the repository takes its fields from the environment."""
    return any(each.kind is Is.EXTERNAL and is_settings(each.name) for each in world.lineage(cls.file, cls.name))


def is_settings_file(path: str) -> bool:
    """Whether a file holds settings by its name."""
    return bool(_FILE.search(path))


def is_mapping(base: Value | None) -> bool:
    """Whether `get` of this value looks a setting up: `app.config`."""
    return base is not None and base.kind is Is.MEMBER and base.name in {"config", "settings", "environ"}
