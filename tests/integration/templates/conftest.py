"""A system that was made once, for all tests here: each gets its own copy. And a skerry that is newer by one template."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from new_systems import ROOT, commit, git, replace  # noqa: E402

from skerry.deploy.templates import new_system  # noqa: E402


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new system as the template has it."""
    return new_system(tmp_path_factory.mktemp("made"), "demo", {}, defaults=True).folder


@pytest.fixture
def demo(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "demo"))


@pytest.fixture
def tracked(demo: Path) -> Path:
    """The same in git, with everything committed."""
    git(demo, "init", "--quiet")
    commit(demo)
    return demo


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The templates of a newer skerry: a second version of both templates beside the first.

    What changed: the system's README and Makefile, and two new files; a line of the services' code, and a file that is gone.
    """
    root = tmp_path_factory.mktemp("newer")
    shutil.copytree(ROOT / "templates", root / "templates")
    for kind in ("system", "service"):
        shutil.copytree(root / "templates" / kind / "v1", root / "templates" / kind / "v2")
    system, service = (root / "templates" / kind / "v2" / "files" for kind in ("system", "service"))
    replace(system / "README.md.jinja", "# {{ name }}\n", "# {{ name }}, a system\n")
    replace(system / "Makefile.jinja", ".PHONY: test", "# what there is to do\n.PHONY: test")
    (system / "docs").mkdir()
    (system / "docs" / "why.md").write_text("Because.\n")
    (system / "NEWS.md.jinja").write_text("Nothing new in {{ name }}.\n")
    (service / "{{ package }}" / "__init__.py.jinja").unlink()
    replace(service / "{{ package }}" / "models.py.jinja", "max_length=1000", "max_length=2000")
    return root / "templates"
