"""The rule distributed-monolith: code, images, starts, migrations and commits that bind services to each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import subject_of

from skerry.architecture.rules import Finding, Severity, Verdict
from skerry.architecture.rules.distributed_monolith import distributed_monolith
from skerry.architecture.source import Commit, History

DOCKERFILE = "FROM python:3.12\nCOPY . /srv\n"
APP = "from flask import Flask\n\napp = Flask(__name__)\n"


def system(more: dict[str, str] | None = None, *, waits: dict[str, str] | None = None) -> dict[str, str]:
    """Services `order` and `stock`, side by side."""
    lines = ["services:"]
    for name in ("order", "stock"):
        after = f", depends_on: [{waits[name]}]" if waits and name in waits else ""
        lines.append(f"  {name}: {{build: {name}{after}}}")
    texts = {"compose.yaml": "\n".join(lines) + "\n"}
    for name in ("order", "stock"):
        texts |= {f"{name}/Dockerfile": DOCKERFILE, f"{name}/app.py": APP, f"{name}/store.py": "X = 1\n"}
    return texts | (more or {})


def findings(texts: dict[str, str], history: History | None = None) -> list[Finding]:
    return list(distributed_monolith.check(subject_of(texts, history=history)))


@pytest.mark.parametrize(
    "more",
    [
        {"order/use.py": "from stock.store import X\n"},
        {"order/pyproject.toml": "[project]\nname = 'order'\ndependencies = ['stock @ file:../stock']\n",
         "stock/pyproject.toml": "[project]\nname = 'stock'\n", "order/requirements.txt": "-e ../stock\n"},
        {"compose.yaml": "services:\n  order: {build: {context: ., dockerfile: order/Dockerfile}}\n"
                         "  stock: {build: {context: ., dockerfile: stock/Dockerfile}}\n",
         "order/Dockerfile": "FROM python:3.12\nCOPY order /srv/order\nCOPY stock /srv/stock\n",
         "stock/Dockerfile": "FROM python:3.12\nCOPY stock /srv/stock\n"},
    ],
    ids=["an import", "a package", "an image"],
)  # fmt: skip
def test_code_of_another_service_is_an_error(more: dict[str, str]) -> None:
    """It cannot be built, tested or changed alone."""
    (found,) = findings(system(more))
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, Severity.ERROR)
    assert found.services == ("order", "stock")
    assert found.place is not None
    assert found.place.file.startswith("order/")


@pytest.mark.parametrize(
    "more",
    [
        {"stock/events.py": "X = 1\n", "order/use.py": "from stock.events import X\n"},
        {"stock/stock_pb2.py": "X = 1\n", "order/use.py": "from stock.stock_pb2 import X\n"},
        {"order/use.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from stock.store import X\n"},
        {"order/stock/__init__.py": "", "order/stock/store.py": "X = 1\n", "order/use.py": "from stock.store import X\n"},
        {"order/tests/test_both.py": "from stock.store import X\n"},
        {"shared/__init__.py": "", "shared/text.py": "X = 1\n", "order/a.py": "from shared.text import X\n",
         "stock/a.py": "from shared.text import X\n"},
        {"order/requirements.txt": "stock==1.2\n", "order/use.py": "import stock\n"},
    ],
    ids=["events", "stubs", "types only", "a module of its own with that name", "tests", "shared code without tables",
         "a published package with that name"],
)  # fmt: skip
def test_what_only_describes_or_is_not_the_others_is_no_bond(more: dict[str, str]) -> None:
    """Interfaces may be shared, and names may be equal."""
    (found,) = findings(system(more))
    assert found.verdict is Verdict.CLEAN


def test_models_of_one_library_are_one_schema() -> None:
    """Two services that import the same mapped tables change them together."""
    models = (
        "from sqlalchemy import Column, Integer\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\nclass Order(Base):\n    __tablename__ = 'orders'\n"
        "    id = Column(Integer, primary_key=True)\n"
    )
    use = "from shared.models import Order\n"
    more = {"shared/__init__.py": "", "shared/models.py": models, "order/a.py": use, "stock/a.py": use}
    (found,) = findings(system(more))
    assert (found.severity, found.services) == (Severity.ERROR, ("order", "stock"))
    assert "shared" in found.message


def test_services_that_wait_for_each_other_are_told() -> None:
    """Neither starts first."""
    (found,) = findings(system(waits={"order": "stock", "stock": "order"}))
    assert (found.severity, found.services) == (Severity.WARNING, ("order", "stock"))


def test_one_that_starts_after_another_is_no_circle() -> None:
    """An order of starts is common, and costs little."""
    (found,) = findings(system(waits={"order": "stock"}))
    assert found.verdict is Verdict.CLEAN


def test_one_job_that_migrates_for_several_is_told() -> None:
    """The services whose databases it changes are named, not the job."""
    app = APP + "import os\nimport psycopg\n\nURL = os.environ['DATABASE_URL']\n"
    lines = ["services:"]
    lines += [
        f"  {name}: {{build: {name}, environment: {{DATABASE_URL: 'postgres://db/{name}'}}}}"
        for name in ("order", "stock")
    ]
    lines.append(
        "  migrate: {build: migrate, command: migrate, environment: {A_DATABASE_URL: 'postgres://db/order',"
        " B_DATABASE_URL: 'postgres://db/stock'}}"
    )
    more = {"compose.yaml": "\n".join(lines), "order/app.py": app, "stock/app.py": app,
            "migrate/Dockerfile": DOCKERFILE, "migrate/run.py": "import psycopg\n"}  # fmt: skip
    (found,) = findings(system(more))
    assert (found.severity, found.services) == (Severity.WARNING, ("order", "stock"))
    assert "migrate" in found.message


def history(both: int, one: int, *, subject: str = "work", files: int = 2) -> History:
    """`both` commits that touch two services, and `one` that touch one."""
    crossing = tuple(f"{name}/app.py" for name in ("order", "stock")) + tuple(f"docs/{i}" for i in range(files - 2))
    commits = tuple(
        Commit(
            sha=f"{i:040x}", when=float(i), author="a", subject=subject, paths=crossing if i < both else crossing[:1]
        )
        for i in range(both + one)
    )
    return History(head=commits[0].sha, at=1.0, commits=commits)


def test_commits_that_cross_too_often_are_told() -> None:
    """With their share, the two services, and some of the commits."""
    (found,) = findings(system(), history(16, 24))
    assert (found.severity, found.services) == (Severity.WARNING, ("order", "stock"))
    assert "16 of 40 commits" in found.message
    assert any(f"{0:010x}" in each.text for each in found.evidence)


@pytest.mark.parametrize(
    "given",
    [history(12, 28), history(16, 4), history(40, 0, subject="Bump black to 24"), history(40, 0, files=40)],
    ids=["no more than three in ten", "too few to say", "routine", "so many files that it moves or formats"],
)
def test_commits_that_tell_nothing_are_no_finding(given: History) -> None:
    """What real systems do, what is too little, and what belongs together for another reason."""
    (found,) = findings(system(), given)
    assert found.verdict is Verdict.CLEAN


def test_clean_says_what_was_followed() -> None:
    """How many imports, and what share of commits crosses."""
    (found,) = findings(system(), history(4, 36))
    assert "10% of 40 commits" in found.message
    assert any("imports of" in each.text for each in found.evidence)
