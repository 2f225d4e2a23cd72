"""The shop as the analyser sees it: clean, and no longer once one piece is taken out of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.architecture.analyse import analyse, findings
from skerry.architecture.rules import RULES, Verdict

SHOP = Path(__file__).parents[3] / "examples" / "shop"
CLIENTS, SAGA = "order/clients.py", "order/saga.py"
BREAKER = "        breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=1.0, probes=3),\n"


def verdicts(folder: Path) -> dict[str, set[Verdict]]:
    found: dict[str, set[Verdict]] = {rule.name: set() for rule in RULES}
    for each in findings(analyse(folder)):
        assert each.verdict is not Verdict.CLEAN or each.evidence, f"{each.rule}: clean without evidence"
        found[each.rule].add(each.verdict)
    return found


def not_clean(folder: Path) -> dict[str, set[Verdict]]:
    return {rule: found - {Verdict.CLEAN} for rule, found in verdicts(folder).items() if found != {Verdict.CLEAN}}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_shop_is_clean_by_all_eight_rules(shop: Path) -> None:
    """Every rule has clean verdicts only, each with its evidence; in the repository and as a copy without a history."""
    assert len(RULES) == 8
    assert not_clean(SHOP) == {}
    assert not_clean(shop) == {}


def test_the_shop_is_as_clean_with_what_was_exported_from_it(shop: Path) -> None:
    """The images of an exported system are built from its whole folder; its file says whose code each of them runs."""
    for form in ("compose", "kubernetes", "helm"):
        command = [sys.executable, "-m", "skerry", "export", form, "-o", "json"]
        subprocess.run(command, cwd=shop, check=True, capture_output=True, timeout=120)
    model = analyse(shop).model
    assert {service.roots for service in model.services.values() if service.role != "gateway"} == {
        (name,) for name in ("analytics", "inventory", "notification", "order", "payment", "product", "shipping")
    }
    assert not_clean(shop) == {}


@pytest.mark.parametrize(
    ("file", "piece", "instead", "rule", "verdict"),
    [
        (CLIENTS, BREAKER, "", "no-circuit-breaker", Verdict.VIOLATION),
        (CLIENTS, "        total=total,\n", "        total=None,\n", "no-timeout", Verdict.VIOLATION),
        (CLIENTS, '_client("payment", total=6.0)', '_client("payment", total=None)', "no-timeout", Verdict.VIOLATION),
        (CLIENTS, '_client("payment", total=6.0)', '_client("payment")', "no-timeout", Verdict.UNKNOWN),
    ],
    ids=["a breaker", "every time-out", "one time-out", "an argument"],
)
def test_taking_one_piece_out_turns_its_verdict_alone(
    shop: Path, file: str, piece: str, instead: str, rule: str, verdict: Verdict
) -> None:
    """Without a breaker or a time-out that rule's verdict changes, and no other's."""
    path = shop / file
    text = path.read_text()
    assert text.count(piece) == 1
    path.write_text(text.replace(piece, instead))
    assert not_clean(shop) == {rule: {verdict}}


@pytest.mark.parametrize(
    ("step", "verdict"),
    [("accept", Verdict.VIOLATION), ("reserve", Verdict.VIOLATION), ("charge", Verdict.SUSPECT)],
)
def test_taking_one_compensation_out_is_found(shop: Path, step: str, verdict: Verdict) -> None:
    """Without what undoes a step no-compensation has something against the saga, and no other rule; least sure of the pivot."""
    path = shop / SAGA
    text = path.read_text()
    head, decorator, rest = text.partition(f"@{step}.compensate\n")
    assert decorator
    path.write_text(head + rest)
    assert not_clean(shop) == {"no-compensation": {verdict}}
