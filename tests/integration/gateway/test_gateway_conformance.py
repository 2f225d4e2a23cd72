"""HTTPRoutes do on our engines what the Gateway API says of them: one suite, given to each as manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.conformance import OWN, groups_of, run_group
from tests.integration.gateway.gateway_processes import ENGINES, Engine

NEUTRAL = Path(__file__).parents[4] / "shared" / "judges" / "httproute_cases.json"


def told(group: Mapping[str, Any], failed: Mapping[int, list[str]]) -> str:
    lines = [f"{len(failed)} of {len(group['cases'])} cases of {group['group']} fail:"]
    for number, problems in failed.items():
        lines += [json.dumps(group["cases"][number]["request"]), *(f"  {problem}" for problem in problems)]
    return "\n".join(lines)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("group", OWN, ids=lambda group: group["group"])
def test_routes_do_what_the_gateway_api_says(group: Mapping[str, Any], engine: Engine) -> None:
    """Each case of a group gets the status, the backend and the headers that its route promises."""
    failed = run_group(group, engine)
    assert not failed, told(group, failed)


@pytest.mark.judge
@pytest.mark.parametrize("engine", ENGINES)
def test_routes_do_what_a_neutral_table_says(engine: Engine) -> None:
    """A table that we did not write is passed as our own is."""
    failures = [told(group, failed) for group in groups_of(NEUTRAL) if (failed := run_group(group, engine))]
    assert not failures, "\n".join(failures)
