"""A route's `strangle`: from what the tables have read to the model, and what contradicts itself in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from skerry.gateway.model import Backend, Forward, GuardSpec, Normalise, Route, Shadow, Strangle
from skerry.gateway.reading.document import Steps
from skerry.gateway.reading.ranges import Mistake, ranges
from skerry.gateway.reading.strangle_tables import MAX_RULES
from skerry.gateway.reading.syntax import HEADER_NAME, wrong_path
from skerry.gateway.strangler import paths

ROUTE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
MAX_STEPS: Final = 32


def strangle(values: Mapping[str, Any]) -> Strangle:
    """The plan of a route."""
    own = {key: values[key] for key in ("steps", "writes", "position") if key in values}
    if "shadow" in values:
        own["shadow"] = None if values["shadow"] is None else _shadow(values["shadow"])
    if "guard" in values:
        own["guard"] = GuardSpec(**values["guard"])
    return Strangle(values["from"], values["to"], **own)


def backends(plan: Strangle) -> tuple[Backend, ...]:
    """Control and candidate, as long as nobody has said how the ramp is: all to the control."""
    return Backend(plan.control), Backend(plan.candidate, 0)


def _shadow(values: Mapping[str, Any]) -> Shadow:
    own = dict(values)
    if "headers" in own:
        own["headers"] = tuple(name.lower() for name in own["headers"])
    if "normalise" in own:
        own["normalise"] = tuple(_normalise(each) for each in own["normalise"])
    return Shadow(**own)


def _normalise(values: Mapping[str, Any]) -> Normalise:
    if "round" in values:
        return Normalise(values["path"], "round", digits=values["round"])
    if "time" in values:
        return Normalise(values["path"], "time", within=values["time"])
    return Normalise(values["path"], next(rule for rule in ("unordered", "case", "space") if rule in values))


def mistakes(action: Forward, route: Route, at: Steps) -> Iterator[Mistake]:
    """What contradicts itself in a strangled route."""
    plan = action.strangle
    assert plan is not None
    if not re.fullmatch(ROUTE_NAME, route.name):
        hint = "letters, digits, hyphens, dots and underscores, at most 63"
        yield at, f"a strangled route needs a 'name' by which people call it: {hint}"
    if plan.control == plan.candidate:
        yield (*at, "to"), f"{plan.candidate!r} is where it comes from"
    if {backend.service for backend in action.backends} - {plan.control, plan.candidate} or not action.backends:
        yield at, "the backends of a strangled route are its control and its candidate"
    yield from _steps(plan.steps, (*at, "steps"))
    yield from ranges(plan.guard, (*at, "guard"))
    if plan.position is not None:
        why = wrong_path(plan.position)
        if why is not None:
            yield (*at, "position"), why
    if plan.shadow is not None:
        yield from ranges(plan.shadow, (*at, "shadow"))
        yield from _rules(plan.shadow, (*at, "shadow"))


def _steps(steps: tuple[float, ...], at: Steps) -> Iterator[Mistake]:
    if not 1 <= len(steps) <= MAX_STEPS:
        yield at, f"there must be 1 to {MAX_STEPS}"
        return
    for index, (before, step) in enumerate(zip((0.0, *steps), steps, strict=False)):
        if step <= before:
            yield (*at, index), f"{step:g}% is not more than {before:g}%: each step gives more to the new service"
    if steps[-1] != 100:
        yield (*at, len(steps) - 1), f"the last step is 100%, not {steps[-1]:g}%"


def _rules(shadow: Shadow, at: Steps) -> Iterator[Mistake]:
    named = (("ignore", shadow.ignore), ("redact", shadow.redact))
    for key, texts in (*named, ("normalise", tuple(rule.path for rule in shadow.normalise))):
        if len(texts) > MAX_RULES:
            yield (*at, key), f"there must be at most {MAX_RULES}"
        for index, text in enumerate(texts):
            try:
                paths.parse(text)
            except ValueError as error:
                yield (*at, key, index), str(error)
    for index, rule in enumerate(shadow.normalise):
        if not 0 <= rule.digits <= 15 or not 0 <= rule.within <= 86400:
            yield (*at, "normalise", index), "must round to 0 to 15 digits, or take times within 0 to 86400 seconds"
    for index, name in enumerate(shadow.headers):
        if not re.fullmatch(HEADER_NAME, name):
            yield (*at, "headers", index), f"{name[:80]!r} is not the name of a header"
