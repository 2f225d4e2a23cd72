"""What `pip install` needs without a network: the wheel of this tree, and what it depends on, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import ROOT


def offline(folder: Path, requirement: str) -> dict[str, str]:
    """The variables under which `pip install REQUIREMENT` takes the wheel of this tree and finds its dependencies there."""
    wheels, found = folder / "wheels", folder / "dependencies"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    found.mkdir()
    for installed in _needed(requirement):
        for entry in {file.parts[0] for file in installed.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            if not (found / entry).exists():
                (found / entry).symlink_to(Path(str(installed.locate_file(entry))))
    return {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PYTHONPATH": str(found),
    }


def _needed(requirement: str) -> list[Distribution]:
    """The installed packages that the requirement needs, without itself."""
    first = Requirement(requirement)
    left, seen = [first], {}
    done: set[tuple[str, str]] = set()
    while left:
        wanted = left.pop()
        package = distribution(wanted.name)
        name = canonicalize_name(wanted.name)
        seen[name] = package
        for extra in {"", *wanted.extras} - {extra for known, extra in done if known == name}:
            done.add((name, extra))
            needs = [Requirement(text) for text in package.requires or []]
            left += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    del seen[canonicalize_name(first.name)]
    return list(seen.values())
