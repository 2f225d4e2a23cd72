"""Which services a changed file concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.deploy.sources import Sources

FILES = {
    "order/__init__.py": "",
    "order/app.py": "from order import models\nfrom money import Money\n",
    "order/models.py": "def lazily():\n    import shared.dates\n",
    "order/plugin.py": "",
    "order/migrations/0001.sql": "",
    "order/README.md": "",
    "order/tests/test_order.py": "",
    "payment/app.py": "from . import gate\nfrom ..nowhere import x\n",
    "payment/gate.py": "import money.rates\n",
    "money/__init__.py": "from .cents import *\n",
    "money/cents.py": "",
    "money/rates.py": "import nothing.at.all\n",
    "shared/dates.py": "import order.app\n",
    "single.py": "import broken\n",
    "broken.py": "def (:\n",
    "alone.py": "",
    "pages/one.py": "",
    "pages/two.py": "",
    "pages/template.html": "",
}
APPS = {
    "order": "order.app:service",
    "payment": "payment.app:service",
    "single": "single:service",
    "one": "pages.one:service",
    "two": "pages.two:service",
}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Sources(tmp_path, APPS)


@pytest.mark.parametrize(
    ("file", "owners"),
    [
        ("order/app.py", {"order"}),
        ("order/models.py", {"order"}),
        ("order/__init__.py", {"order"}),
        ("order/plugin.py", {"order"}),
        ("order/migrations/0001.sql", {"order"}),
        ("order/migrations/0002.sql", {"order"}),
        ("order/README.md", set()),
        ("order/tests/test_order.py", set()),
        ("payment/gate.py", {"payment"}),
        ("money/__init__.py", {"order", "payment"}),
        ("money/cents.py", {"order", "payment"}),
        ("money/rates.py", {"payment"}),
        ("shared/dates.py", {"order"}),
        ("single.py", {"single"}),
        ("broken.py", {"single"}),
        ("alone.py", set()),
        ("pages/one.py", {"one"}),
        ("pages/two.py", {"two"}),
        ("pages/template.html", {"one", "two"}),
    ],
)
def test_a_file_belongs_to_who_imports_it(sources: Sources, tmp_path: Path, file: str, owners: set[str]) -> None:
    """Whoever imports it, also through others, in functions and in circles; else those in whose folder it lies."""
    assert sources.owners([tmp_path / file]) == owners


def test_a_file_elsewhere_belongs_to_nobody(sources: Sources, tmp_path: Path) -> None:
    """What is not in the system's folder concerns no service."""
    assert sources.owners([tmp_path.parent / "order" / "app.py"]) == set()


def test_an_app_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """Somebody may be about to write it."""
    assert Sources(tmp_path, {"order": "order.app:service"}).owners([tmp_path / "order" / "app.py"]) == set()
