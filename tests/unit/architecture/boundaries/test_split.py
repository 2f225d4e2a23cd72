"""What is proposed for a small monolith with a history of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.architecture.boundaries.proposal import propose
from skerry.architecture.boundaries.published import published
from skerry.architecture.boundaries.text import as_json, as_text
from skerry.cli.main import main

DAY = 86_400
START = 1_600_000_000
PARTS = ("order", "payment", "stock", "mail", "cart", "tax", "media", "search")
DAYS = 4 * 365


def stream(commits: list[tuple[int, dict[str, str]]]) -> bytes:
    """Commits as git's fast-import reads them: a day, and the files that are written."""
    lines: list[str] = []
    for number, (day, files) in enumerate(commits):
        who = f"<p{number % 5}@example.org> {START + day * DAY} +0000"
        lines += ["commit refs/heads/main", f"committer P {who}", f"data {len(f'change {number}')}", f"change {number}"]
        for path, text in files.items():
            lines += [f"M 100644 inline {path}", f"data {len(text.encode())}", text]
        lines.append("")
    return "\n".join([*lines, "done", ""]).encode()


def make(folder: Path, commits: list[tuple[int, dict[str, str]]], kept: int | None = None) -> Path:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    folder.mkdir()
    git = ("git", "-c", "init.defaultBranch=main")
    subprocess.run([*git, "init", "-q", "--bare", "."], cwd=folder, env=env, check=True)
    subprocess.run(
        [*git, "fast-import", "--quiet", "--done"], cwd=folder, env=env, check=True, input=stream(commits[:kept])
    )
    return folder


def source(part: str, number: int, version: int) -> str:
    other = f"from shop.{part}.models import {part.title()}\n" if number else "from django.db import models\n"
    model = (
        f"class {part.title()}(models.Model):\n    name = models.CharField()\n    order = models.ForeignKey('Order')\n"
        if not number
        else f"def use():\n    return {part.title()}({version})\n"
    )
    return other + model


def path(part: str, number: int) -> str:
    return f"shop/{part}/{f'm{number}' if number else 'models'}.py"


def commits() -> list[tuple[int, dict[str, str]]]:
    first = {"shop/__init__.py": "", "manage.py": "import shop\n"}
    for part in PARTS:
        first[f"shop/{part}/__init__.py"] = ""
        first |= {path(part, number): source(part, number, 0) for number in range(6)}
    first["shop/order/pay.py"] = (
        "from django.db import transaction\nfrom shop.order.models import Order\nfrom shop.payment.models import Payment\n"
        "@transaction.atomic\ndef pay():\n    Order()\n    Payment()\n"
    )
    found = [(0, first)]
    for number in range(1, DAYS // 5):
        part = PARTS[number % 8]
        one, two = number % 5 + 1, (number + 1) % 5 + 1
        files = {path(part, each): source(part, each, number) for each in (one, two)}
        if number % 10 == 0:
            neighbour = PARTS[(number + 1) % 8]
            files[path(neighbour, 1)] = source(neighbour, 1, number)
        found.append((number * 5, files))
    return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("split") / "shop", commits())


@pytest.fixture(scope="module")
def proposed(repository):
    return propose(repository, fewest=8, most=8)


def test_packages_that_change_together_are_services(proposed):
    """Each part of the shop becomes a service with its name, and all modules are in exactly one."""
    assert sorted(service.name for service in proposed.services) == sorted(PARTS)
    modules = [module for service in proposed.services for module in service.modules]
    assert len(modules) == len(set(modules))
    assert "manage.py" not in modules


def test_back_test_is_by_commits_it_has_not_learned_from(proposed):
    """The split of two years before is judged by the commits since, and does better than chance."""
    judged = proposed.backtest
    assert judged.until - judged.learned == pytest.approx(2 * 365.25 * DAY, abs=6 * DAY)
    assert judged.enough
    assert judged.ours.within == pytest.approx(0.9, abs=0.05)
    assert judged.ours.within > judged.random.within
    assert 0 < judged.ours.kappa <= judged.ours.within


def test_what_is_cut_is_named(proposed):
    """The transaction over two services, the import and the commits that cross are listed with their places."""
    assert [(saga.place.file, saga.function) for saga in proposed.sagas] == [("shop/order/pay.py", "pay")]
    cut = next(cut for cut in proposed.crossings if cut.services == ("order", "payment"))
    assert cut.imports == 1
    assert cut.keys == ("shop/payment/models.py:4 Payment -> Order",)
    commits = [cut for cut in proposed.crossings if cut.commits]
    assert commits
    assert all(len(sha) == 40 for cut in commits for sha in cut.shas)


def test_easiest_comes_first(proposed):
    """What others lean on most is extracted last."""
    assert proposed.order[-1] == "order"
    assert set(proposed.order) == {service.name for service in proposed.services}


def test_later_commits_change_nothing(repository, tmp_path):
    """A repository as it was then and the whole one give the same answer for that day."""
    day = 3 * 365
    kept = sum(1 for when, _ in commits() if when <= day)
    then = make(tmp_path / "shop", commits(), kept)
    at = START + day * DAY
    assert as_json(propose(then, at, fewest=3, most=5)) == as_json(propose(repository, at, fewest=3, most=5))


def test_little_history_is_not_enough_evidence(tmp_path):
    """With few commits the verdict says so, and shows what there is all the same."""
    found = propose(make(tmp_path / "young", commits(), 30))
    assert found.verdict.startswith("not enough evidence")
    assert found.services
    assert "not enough evidence" in as_text(found)


def test_verb(repository):
    """The verb prints the object that the issue of its users describes."""
    result = CliRunner().invoke(main, ["split", str(repository), "--services", "4", "-o", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {"services", "backtest", "crossings", "verdict"} <= document.keys()
    assert {"name", "modules"} <= document["services"][0].keys()
    assert document["metrics"].keys() == {"BCP", "ICP", "SM", "IFN", "NED"}


@pytest.mark.parametrize("arguments", [["--services", "x"], ["--services", "9..3"], ["--at", "soon"]])
def test_wrong_options(repository, arguments):
    """A wrong option is one line that says what to give."""
    result = CliRunner().invoke(main, ["split", str(repository), *arguments])
    assert result.exit_code == 1
    assert "give" in result.output or "from 2 to 50" in result.output


def test_names_do_not_steer_a_terminal(tmp_path):
    """Control characters in names of files come out as question marks."""
    odd = [(day, {f"a/\x1b[31m{n}.py": f"x = {day}" for n in range(3)}) for day in range(5)]
    assert "\x1b" not in as_text(propose(make(tmp_path / "odd", odd)))


def test_published_figures_of_a_system_that_fits_on_paper():
    """Nine modules in three services, worked out by hand from the papers' definitions.

    Service A has a1 to a5 (four references within, contexts x, x, x, y, y), B has b1 to b3 (one within, all of y), C has c alone.
    From A to B go a1-b1 and a2-b1, from B to C b1-c; so 8 references, of which 3 cross.
    """
    service = {**{f"a{n}": "A" for n in range(1, 6)}, "b1": "B", "b2": "B", "b3": "B", "c": "C"}
    context = {**dict.fromkeys(("a1", "a2", "a3"), "x"), **dict.fromkeys(("a4", "a5", "b1", "b2", "b3"), "y"), "c": "z"}
    within = [("a1", "a2"), ("a2", "a3"), ("a3", "a4"), ("a4", "a5"), ("b1", "b2")]
    found = published(service, [*within, ("a1", "b1"), ("a2", "b1"), ("b1", "c")], context)
    assert found.icp == pytest.approx(3 / 8)
    # entropy of 3/5 and 2/5; the other two services have one context each
    assert found.bcp == pytest.approx(-(3 / 5 * math.log2(3 / 5) + 2 / 5 * math.log2(2 / 5)) / 3)
    # cohesion 4/25, 1/9 and 0; coupling 2/(2*5*3), 1/(2*3*1) and 0, each over three
    assert found.sm == pytest.approx((4 / 25 + 1 / 9) / 3 - (1 / 15 + 1 / 6) / 3)
    # others refer to b1 and to c: one of B, one of C, none of A
    assert found.ifn == pytest.approx(2 / 3)
    # only A has from 5 to 20 modules
    assert found.ned == pytest.approx(4 / 9)


def test_published_figures_of_one_service_have_nothing_between():
    """No pair, no reference, no module: nothing is divided by nothing."""
    one = published({"a": "A", "b": "A"}, [("a", "b")], {"a": "x", "b": "x"})
    assert (one.bcp, one.icp, one.sm, one.ifn, one.ned) == (0.0, 0.0, 0.25, 0.0, 1.0)
    none = published({}, [], {})
    assert (none.icp, none.sm, none.ned) == (0.0, 0.0, 0.0)
