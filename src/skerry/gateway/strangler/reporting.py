"""A ramp's report, from the database of its state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from skerry.errors import ConfigurationError
from skerry.gateway.strangler import samples
from skerry.gateway.strangler.ramp_rows import COMPARED, Ramp
from skerry.gateway.strangler.ramps import Ramps
from skerry.gateway.strangler.report import LEFT_OUT, OVERRULED, Mismatch, Report

MOST_MISMATCHES: Final = 50
"""Places that are told, those first that differ most beyond the noise."""


def report(ramps: Ramps, route: str) -> Report:
    """The latest ramp of a route from its start on. Raises `ConfigurationError` when it never had one."""
    ramp = ramps.find(route)
    if ramp is None:
        known = ", ".join(each.route for each in ramps.all()) or "none"
        raise ConfigurationError(f"route {route!r} has no ramp in {ramps.folder}; those that have one: {known}")
    return Report(
        route=ramp.route,
        control=ramp.plan.control,
        candidate=ramp.plan.candidate,
        steps=ramp.plan.steps,
        state=ramp.place.state,
        percent=ramp.place.percent,
        owner=ramp.place.owner,
        needs="the route in the specification: it has it no more" if ramp.gone else ramp.needs,
        note=OVERRULED if ramp.plan.overruled and ramp.place.state in COMPARED else "",
        left_out={why: getattr(ramp.evidence, why) for why in LEFT_OUT},
        intervals=ramps.intervals(ramp),
        decisions=ramps.decisions(ramp),
        mismatches=_mismatches(ramp, ramps.folder),
    )


def _mismatches(ramp: Ramp, folder: Path) -> tuple[Mismatch, ...]:
    kept = samples.read(folder, ramp.route)
    found = [
        Mismatch(
            path, candidate, control, tuple((one.request, one.control, one.candidate) for one in kept.get(path, ()))
        )
        for path, (candidate, control) in ramp.evidence.paths.items()
        if candidate
    ]
    found.sort(key=lambda each: (each.noise - each.pairs, each.path))
    return tuple(found[:MOST_MISMATCHES])
