"""The shop as the analyser sees it: clean, and no longer once one piece is taken out of it."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.architecture.analyse import analyse, findings
from skerry.architecture.rules import RULES, Verdict
from skerry.client.policy import default_policy
from skerry.resilience import Policy

SHOP = Path(__file__).parents[3] / "examples" / "shop"
CLIENTS, SAGA = "order/clients.py", "order/saga.py"
BREAKER = "        breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=1.0, probes=3),\n"


def line_of(function: Callable[..., object], text: str) -> str:
    """`skerry/resilience/policy.py:144`: where a limit stands in our own source."""
    lines, first = inspect.getsourcelines(function)
    file = Path(inspect.getfile(function))
    (at,) = [number for number, line in enumerate(lines, first) if line.strip() == text]
    return f"skerry/{file.parent.name}/{file.name}:{at}"


DEFAULTS = {
    "Policy": f"at most 10 s (a policy's own total, {line_of(Policy.__init__, 'total: float | None = 10.0,')}",
    "client": f"given none, {line_of(default_policy, 'total=5.0,')}",
}


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
        (CLIENTS, '_client("payment", total=6.0)', '_client("payment")', "no-timeout", Verdict.VIOLATION),
        (CLIENTS, '_client("shipping", total=3.0)', '_client("shipping")', "no-timeout", Verdict.VIOLATION),
        (CLIENTS, '_client("product", total=2.0)', '_client("product")', "no-timeout", Verdict.VIOLATION),
        (CLIENTS, '_policy("inventory", total=3.0)', '_policy("inventory")', "no-timeout", Verdict.VIOLATION),
        (
            CLIENTS,
            '_policy("inventory", total=3.0)',
            '_policy("inventory", total=None)',
            "no-timeout",
            Verdict.VIOLATION,
        ),
        (CLIENTS, "_policy(name, total=total)", "_policy(name)", "no-timeout", Verdict.VIOLATION),
    ],
    ids=[
        "a breaker",
        "every time-out",
        "one time-out",
        "payment's argument",
        "shipping's argument",
        "product's argument",
        "inventory's argument",
        "inventory's time-out",
        "the argument that is handed on",
    ],
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
    ("file", "pieces", "told"),
    [
        (CLIENTS, ["        total=total,\n"], "Policy"),
        (CLIENTS, [", policy=_policy(name, total=total)"], "client"),
        (CLIENTS, [', policy=_policy("inventory", total=3.0)'], "client"),
        (SAGA, [", timeout=3.0", ", timeout=6.0"], ""),
        ("order/history.py", [", timeout=PATIENCE"], ""),
        ("gateway.yaml", ["    total: 5.0\n", "    attempt: 2.0\n", "    policy: {total: 2.0}\n"], ""),
        ("demo/load.py", [', policy=Policy("gateway", total=10.0)'], ""),
        ("demo/readers.py", [", timeout=5.0", ", timeout=PATIENCE / 2", ", timeoutMS=int(PATIENCE * 1000)"], ""),
    ],
    ids=[
        "totals",
        "policies",
        "a channel's policy",
        "steps",
        "a view",
        "routes",
        "a client of the demo",
        "its readers",
    ],
)
def test_a_time_out_that_a_default_replaces_can_be_taken_out(
    shop: Path, file: str, pieces: list[str], told: str
) -> None:
    """The call still ends by itself, so all stays clean; where it was the limit in force, the default's line is told."""
    path = shop / file
    text = path.read_text()
    for piece in pieces:
        assert piece in text
        text = text.replace(piece, "")
    path.write_text(text)
    assert not_clean(shop) == {}
    limits = [each.text for found in findings(analyse(shop)) if found.rule == "no-timeout" for each in found.evidence]
    assert any(DEFAULTS[told] in each for each in limits) if told else not any("skerry/" in each for each in limits)


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
