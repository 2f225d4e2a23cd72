"""What is exported for Compose, as Compose itself reads it: `docker-compose config`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.deploy import export
from skerry.topology import load

pytestmark = pytest.mark.compose
SHOP = Path(__file__).parents[3] / "examples" / "shop"
ODD = """\
[system]
name = "odd-1"
events = "sqlite:///events/"

[gateway]
spec = "gate#$way.yaml"
port = 0
calls = ["no"]

[topics]
"a.b" = { owner = "no" }

[services.no]
app = "no.app:service"
database = "sqlite:///no.db"
grpc = true
calls = ["on", "null"]
publishes = ["a.b"]

[services.no.env]
DOLLAR = "$5 for ${YOU} and $$"
LINES = "two\\nlines: # none\\n"
QUOTES = "\\"quoted\\" 'x' \\\\"
NOTHING = ""
BRACES = "{{ x }} \u20ac"
TRUTH = "yes"
NUMBER = "1:20"

[services.on]
app = "on.app:service"

[services.null]
app = "null_.app:service"
database = "sqlite:///null.db"
subscribes = ["a.b"]

[services.y]
app = "y.app:service"
"""


def exported(file: Path, out: Path) -> export.Plan:
    """Written as `skerry export compose` does it."""
    plan = export.plan_of(load(file))
    place = export.compose.Place.of(out, plan.system.folder)
    export.write(out, export.compose.files(plan, place, tag="1.2.3"), plan)
    return plan


def read_by_compose(out: Path) -> dict[str, Any]:
    """The services as Compose would run them: paths whole, files of variables read, the dollar signs that it doubles single."""
    done = subprocess.run(
        ["docker-compose", "--file", "compose.yaml", "config"],
        cwd=out,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
    return found


def test_compose_takes_the_shop(tmp_path: Path) -> None:
    """Each process, with a database and a migration for each that keeps something, and the broker."""
    plan = exported(SHOP / "skerry.toml", tmp_path)
    kept = [each.name for each in plan.services if each.database]
    assert kept
    services = read_by_compose(tmp_path)
    assert services.keys() == {
        *(each.name for each in plan.workloads),
        *(f"{name}-{what}" for name in kept for what in ("database", "migrate")),
        "events",
    }


def test_compose_takes_odd_names_and_values_as_they_are(tmp_path: Path) -> None:
    """What YAML or Compose could take for something else, in the system file and in the folders' names, reaches the processes."""
    system = tmp_path / "my $hop #1"
    system.mkdir()
    (system / "gate#$way.yaml").write_text('routes:\n  - {path: /n, service: "no"}\n')
    (system / "skerry.toml").write_text(ODD)
    out = tmp_path / "to ${be} deployed"
    plan = exported(system / "skerry.toml", out)
    services = read_by_compose(out)
    variables = services["no"]["environment"]
    assert {name: variables[name] for name in plan.system.services["no"].env} == plan.system.services["no"].env
    for name in ("no", "null"):
        assert services[name]["environment"]["SKERRY_DATABASE"].endswith(f"@{name}-database:5432/{name}")
    for workload in plan.workloads:
        build = services[workload.name]["build"]
        assert Path(build["context"]) == system
        assert (system / build["dockerfile"]).resolve() == out / "images" / f"{workload.name}.Dockerfile"
    assert f"{out}/nats.conf:/etc/nats/nats.conf:ro" in services["events"]["volumes"]
