"""Known findings do not count, gone ones are named, and a file that is no baseline is an error that says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from made import HOSTILE, found, reported

from skerry.architecture.report import read_baseline, write_baseline
from skerry.architecture.report.baseline import Baseline, Entry
from skerry.architecture.rules import Severity
from skerry.errors import ConfigurationError


def kept(folder: Path, *findings) -> Baseline:
    file = folder / "baseline.json"
    file.write_text(write_baseline(reported(*findings)))
    return read_baseline(file)


def test_known_findings_do_not_count(tmp_path) -> None:
    """What the baseline has is still there and shown as a number; only the new one counts."""
    known = kept(tmp_path, found())
    result = reported(found(at="order/app.py:50"), found(key="new"), baseline=known)
    assert [each.finding.key for each in result.findings] == ["new"]
    assert [each.finding.place.line for each in result.known.there] == [50]
    assert result.at_least(Severity.ERROR) == 1
    assert not result.known.gone


def test_a_baseline_of_before_files_could_be_renamed_is_read() -> None:
    """It holds former fingerprints: its findings are known and none is gone; what is written anew has the new ones."""
    entries = {each: Entry(each, "no-timeout", "said") for each in ("4d5e35c4d6964cb1", "ad3b128eca5bbec5")}
    result = reported(found(), found(at="order/app.py:50"), found(key="new"), baseline=Baseline(entries))
    assert [each.finding.key for each in result.findings] == ["new"]
    assert (len(result.known.there), result.known.gone) == (2, ())
    written = {each["fingerprint"] for each in json.loads(write_baseline(result))["findings"]}
    assert not written & entries.keys()


def test_a_renamed_file_stays_known(tmp_path) -> None:
    """Moving code neither makes a new finding nor leaves one gone."""
    result = reported(found(at="order/calls/payment.py:7"), baseline=kept(tmp_path, found()))
    assert (result.findings, result.known.gone, len(result.known.there)) == ((), (), 1)


def test_gone_ones_are_named(tmp_path) -> None:
    """An entry whose finding is no more is said with its text, unless its rule was not asked."""
    known = kept(tmp_path, found(), found("chatty"))
    result = reported(found(), baseline=known)
    assert [each.rule for each in result.known.gone] == ["chatty"]
    assert result.rules[0].verdict == "accepted"
    assert not reported(found(), baseline=known, asked=("no-timeout",)).known.gone


def test_a_baseline_made_with_a_baseline_keeps_what_is_still_there(tmp_path) -> None:
    """Writing it anew drops what is gone and nothing else."""
    known = kept(tmp_path, found(), found("chatty"))
    again = json.loads(write_baseline(reported(found(), found(key="new"), baseline=known)))
    assert [each["rule"] for each in again["findings"]] == ["no-timeout", "no-timeout"]


def test_it_is_text_for_people_and_sorted(tmp_path) -> None:
    """Each entry tells rule, file and message; the same findings in another order give the same file."""
    findings = [found(), found("chatty"), found(at="a.py:1")]
    text = write_baseline(reported(*findings))
    assert text == write_baseline(reported(*reversed(findings)))
    assert json.loads(text)["findings"][0].keys() == {"fingerprint", "rule", "services", "file", "message"}


def test_hostile_names_come_back_harmless(tmp_path) -> None:
    """Control characters are in neither the file nor what is shown of it."""
    known = kept(tmp_path, found(message=HOSTILE, services=(HOSTILE,)))
    [gone] = reported(baseline=known).known.gone
    assert gone.message.isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "not of version 1"),
        ('{"version": 2, "findings": []}', "not of version 1"),
        ('{"version": 1}', "no list"),
        ('{"version": 1, "findings": [{}]}', "findings[0]"),
        ('{"version": 1, "findings": ["a"]}', "findings[0]"),
    ],
)
def test_what_is_no_baseline(tmp_path, text: str, said: str) -> None:
    """The error names the file and what is wrong in it."""
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"b\.json") as caught:
        read_baseline(file)
    assert said in str(caught.value)


def test_one_that_is_not_there(tmp_path) -> None:
    """Likewise."""
    with pytest.raises(ConfigurationError, match="No such file"):
        read_baseline(tmp_path / "none.json")
