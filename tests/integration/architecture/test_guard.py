"""Contracts hold at once, and break when something new crosses the boundary."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli.main import main

PARTS = ("order", "payment", "stock", "mail", "cart", "tax", "media", "search")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=N", "-c", "user.email=n@example.org", *arguments], cwd=folder, check=True)


@pytest.fixture
def shop(tmp_path) -> Path:
    for part in PARTS:
        folder = tmp_path / "src" / "shop" / part
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "one.py").write_text(f"from shop.{part} import two\n")
        (folder / "two.py").write_text("x = 1\n")
        (folder / "three.py").write_text("from .two import x\n")
    (tmp_path / "src/shop/__init__.py").write_text("")
    (tmp_path / "src/shop/order/pay.py").write_text("from shop.payment.two import x\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def contracts(shop: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["guard", str(shop), "--services", "8", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def lint(shop: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [program, "--no-cache"],
        cwd=shop,
        env={**os.environ, "PYTHONPATH": str(shop / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_linter(shop):
    """Import-linter keeps the contracts as they are written, and breaks one for a new import across."""
    (shop / ".importlinter").write_text(contracts(shop, "--import-linter"))
    assert "shop.order.pay -> shop.payment.two" in (shop / ".importlinter").read_text()
    kept = lint(shop)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    (shop / "src/shop/tax/new.py").write_text("from shop.media.two import x\n")
    (shop / "src/shop/tax/one.py").write_text("from shop.media.two import x\n")
    broken = lint(shop)
    assert broken.returncode == 1
    assert "shop.tax.one -> shop.media.two" in broken.stdout


def test_a_folder_that_is_no_package_is_left_out_and_named(shop):
    """Import-linter refuses a module that it does not see: one in a folder without an `__init__.py`. The file says which."""
    (shop / "src/shop/tax/ui").mkdir()
    (shop / "src/shop/tax/ui/panel.py").write_text("from shop.media.two import x\n")
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "panel")
    (shop / ".importlinter").write_text(contracts(shop, "--import-linter"))
    assert "#   shop.tax.ui.panel\n" in (shop / ".importlinter").read_text()
    kept = lint(shop)
    assert kept.returncode == 0, kept.stdout + kept.stderr


def test_tach_leaves_out_what_is_of_no_service(shop):
    """Tests and migrations import across as they like: the file for tach excludes what the split leaves out."""
    excluded = tomllib.loads(contracts(shop, "--tach"))["exclude"]
    assert {"**/tests", "**/migrations", "**/testing", "**/conftest.py", "**/test_*.py", "**/*_pb2.py"} <= set(excluded)
    assert len(excluded) == len(set(excluded))


def test_tach(shop):
    """The file for tach names each package, with what it uses across today as deprecated."""
    document = tomllib.loads(contracts(shop, "--tach"))
    assert document["source_roots"] == ["src"]
    modules = {module["path"]: module["depends_on"] for module in document["modules"]}
    assert {f"shop.{part}" for part in PARTS} <= modules.keys()
    assert {"path": "shop.payment", "deprecated": True} in modules["shop.order"]
