"""What is in the wheel, and that templates which were released stay as they are: systems are updated from them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RELEASES = sorted((ROOT / "tests" / "upgrade").glob("skerry-*.whl"))


def templates(wheel: Path) -> dict[str, bytes]:
    """The files of the templates in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        found = [
            name for name in archive.namelist() if name.startswith("skerry/_templates/") and not name.endswith("/")
        ]
        return {name.removeprefix("skerry/_templates/"): archive.read(name) for name in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.iterdir())


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_a_released_template_never_changes(release: Path) -> None:
    """Each file of each released version is there as it was; what is new comes as a version of its own."""
    for name, content in templates(release).items():
        assert (ROOT / "templates" / name).read_bytes() == content, (
            f"{name} was released: copy its version to the next one"
        )


def test_the_wheel_has_all_that_runs_and_nothing_else(wheel: Path) -> None:
    """Types, SQL, the console's page, the shop and the templates are in it; tests, sources of the page and caches are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        entries = next(archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    assert "skerry = skerry.cli.main:main" in entries
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    homes = {"src/skerry/": "skerry/", "templates/": "skerry/_templates/", "examples/shop/": "skerry/_examples/shop/"}
    wanted = {
        home + name.removeprefix(at)
        for name in tracked
        for at, home in homes.items()
        if name.startswith(at) and (ROOT / name).is_file()
    }
    packed = {name for name in names if not name.startswith("skerry-")}
    assert {"skerry/py.typed", "skerry/console/static/index.html", "skerry/_templates/system/v1/copier.yml"} <= packed
    assert {Path(name).suffix for name in packed} >= {".py", ".sql", ".toml", ".js", ".css", ".jinja"}
    assert wanted - packed == set()
    odd = re.compile(
        r"(^|/)(tests?|ui|node_modules|__pycache__|\.[a-z]+_cache|var|site)/|\.(pyc|map|svelte|ts|db|log)$"
    )
    assert {name for name in packed if odd.search(name) and not name.startswith("skerry/_templates/")} == set()


def test_the_wheel_has_no_more_than_it_needs(wheel: Path) -> None:
    """Two megabytes are enough for all of it."""
    assert wheel.stat().st_size < 2 * 1024 * 1024
    assert templates(wheel)
