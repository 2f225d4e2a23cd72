"""Whose routes the specification of a gateway holds."""

from __future__ import annotations

from collections import defaultdict

from skerry.architecture.code.facts import Call
from skerry.architecture.joining.services import Found
from skerry.architecture.manifests import Manifests
from skerry.architecture.model import Evidence, Source, SystemModel
from skerry.architecture.source import Place


def routed(found: Found, manifests: Manifests) -> tuple[dict[str, tuple[Call, ...]], list[Evidence]]:
    """By service, the calls that its routes make; and the specifications that nothing which is deployed runs."""
    calls: dict[str, list[Call]] = defaultdict(list)
    unknown: list[Evidence] = []
    for name, deployed in found.deployed.items():
        for each in deployed:
            calls[name] += each.routes
    owner = SystemModel(services=found.services).service_of
    for path, routes in manifests.routes.items():
        whose = _runs(path, found) or owner(path)
        if whose is not None:
            calls[whose] += routes
        else:
            text = (
                f"{path}: whose gateway it describes is not said: no skerry.toml, command or folder of a service has it"
            )
            unknown.append(Evidence(text, Source.SPEC, Place(path)))
    return {name: tuple(those) for name, those in calls.items() if those}, unknown


def _runs(path: str, found: Found) -> str | None:
    """The one service whose command names the file."""
    name = path.rpartition("/")[2]
    those = {
        service
        for service, deployed in found.deployed.items()
        for each in deployed
        if any(word.rpartition("/")[2] == name for word in each.workload.command.split())
    }
    return next(iter(those)) if len(those) == 1 else None
