"""Which changes of a system's folder matter, and which have to wait for a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skerry.deploy.reloading import differences
from skerry.deploy.watching import matters
from skerry.topology import Gateway, ServiceSpec, System


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("order/app.py", True),
        ("skerry.toml", True),
        ("order/migrations/0001.sql", True),
        ("var/order.db-wal", False),
        (".venv/lib/x.py", False),
        ("own-environment/lib/x.py", False),
        ("order/__pycache__/app.pyc", False),
        (".git/index", False),
        ("ui/node_modules/x.js", False),
        ("order/.app.py.swp", False),
        ("order/app.py~", False),
        ("order/.#app.py", False),
        ("order/#app.py#", False),
        ("order/4913", False),
        ("order/app.py.tmp", False),
        ("../elsewhere.py", False),
    ],
)
def test_only_code_and_settings_matter(tmp_path: Path, file: str, expected: bool) -> None:
    """Data, environments, caches and what editors keep for themselves are no reason to start anything anew."""
    folder = tmp_path / "shop"
    (folder / "own-environment").mkdir(parents=True)
    (folder / "own-environment" / "pyvenv.cfg").touch()
    path = tmp_path / "elsewhere.py" if file.startswith("..") else folder / file
    assert matters(path, folder, data=folder / "var") is expected


ONE = ServiceSpec(name="one", app="one:service")
SYSTEM = System(
    name="tiny", file=Path("/skerry.toml"), services={"one": ONE}, gateway=Gateway(spec=Path("/g")), events="sqlite:"
)


@pytest.mark.parametrize(
    ("after", "waits"),
    [
        (SYSTEM, []),
        (replace(SYSTEM, services={"one": replace(ONE, env={"A": "1"})}), []),
        (replace(SYSTEM, services={"one": replace(ONE, port=9000)}), ["services.one.port"]),
        (replace(SYSTEM, services={"one": replace(ONE, grpc=True)}), ["services.one.grpc"]),
        (replace(SYSTEM, services={"one": ONE, "two": replace(ONE, name="two")}), ["services.two"]),
        (replace(SYSTEM, services={"two": replace(ONE, name="two")}), ["services.one", "services.two"]),
        (replace(SYSTEM, name="other", events=None), ["system.name", "system.events"]),
        (replace(SYSTEM, gateway=replace(SYSTEM.gateway, port=1)), ["gateway"]),
    ],
)
def test_what_a_running_system_cannot_take_is_named(after: System, waits: list[str]) -> None:
    """New and gone services, ports, the gateway's table and the system's own wait for a restart; the rest does not."""
    assert differences(SYSTEM, after) == waits
