"""Without its packages, Envoy as an engine says what to install; what needs none of them works."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"envoy", "grpc", "google"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without(program: str) -> subprocess.CompletedProcess[str]:
    code = f"{HIDE}\n{program}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PATH": "/nowhere"}
    )


def test_the_server_of_configuration_names_the_extra() -> None:
    """It is said when a server is made, not when the module is imported."""
    done = without(
        "from pathlib import Path\nfrom skerry.envoy import AdsServer\nprint('imported')\nAdsServer(Path('x'))"
    )
    assert done.stdout == "imported\n"
    assert "pip install 'skerry[envoy]'" in done.stderr


@pytest.mark.parametrize("statement", ["import skerry.envoy", "import skerry.gateway.envoy"])
def test_importing_loads_no_package_of_the_extra(statement: str) -> None:
    """Who compiles or writes files needs none of it."""
    done = without(statement)
    assert done.returncode == 0, done.stderr


def test_a_specification_is_compiled_without_any_of_it() -> None:
    """`skerry gateway check --engine envoy` works where Envoy is not."""
    done = without(
        "from skerry.gateway.envoy import compile\nfrom skerry.gateway.model import *\n"
        "made = compile(GatewaySpec(routes=(Route('r', (Match(),), Respond(200)),)), addresses={})\n"
        "print(list(made.resources.listeners))"
    )
    assert done.stdout == "['127.0.0.1:8080']\n", done.stderr
