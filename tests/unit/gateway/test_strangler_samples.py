"""What is kept of differences: few, small, without secrets, and for nobody else."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway.strangler import samples
from skerry.gateway.strangler.comparing import Difference, Kind
from skerry.gateway.strangler.redacting import HIDDEN, Redactor, request_line
from skerry.gateway.strangler.samples import MAX_VALUE, MOST, PER_PATH, Sample, Samples

SECRETS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "Bearer abcdefghijklmnop",
    "someone@example.org",
    "4111 1111 1111 1111",
    "4111111111111111",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "sk_live_abcdefghijklmnop",
    "AKIAIOSFODNN7EXAMPLE",
    "d41d8cd98f00b204e9800998ecf8427e",
    "-----BEGIN PRIVATE KEY-----\nabc",
    "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6",
]
NAMES = [
    *(
        "password",
        "userPassword",
        "pass",
        "accessToken",
        "refresh_token",
        "Authorization",
        "card",
        "cardNumber",
        "cvv",
        "iban",
    ),
    *(
        "client-secret",
        "apiKey",
        "set-cookie",
        "sessionId",
        "email",
        "e_mail",
        "phone",
        "otp",
        "pin",
        "ssn",
        "signature",
    ),
]
HARMLESS = [
    *(
        "author",
        "authors",
        "title",
        "price",
        "spinner",
        "company",
        "cardinality",
        "passed",
        "panel",
        "opinion",
        "total",
        "basic",
    ),
]


def differing(value: Any, *steps: str | int, kind: Any = "value", path: str = "$.a") -> Difference:
    return Difference(path, kind, path, value, value, steps)


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_secret_is_taken_out_by_its_shape(secret: str) -> None:
    """Wherever it stands in a value, in a list or in a key of its own, nothing of it is kept."""
    redactor = Redactor(())
    for value in (secret, [secret], {"a": {"b": f"x {secret} y"}}, {secret: 1}):
        told = json.dumps(redactor.value(value, ("a",)))
        assert HIDDEN in told
        assert secret[-8:] not in told


@pytest.mark.parametrize("name", NAMES)
def test_what_has_a_secret_name_is_taken_out(name: str) -> None:
    """By the name of the key at which it stands, of one above it, or of one inside it."""
    redactor = Redactor(())
    assert redactor.value(12, ("a", name)) == HIDDEN
    assert redactor.value("x", (name, 0, "b")) == HIDDEN
    assert redactor.value({"b": [{name: "x"}]}, ("a",)) == {"b": [{name: HIDDEN}]}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_kept(name: str) -> None:
    """A net that catches everything would show nothing: names that only contain a secret's name are none."""
    assert Redactor(()).value("Seven Sisters", (name,)) == "Seven Sisters"


@pytest.mark.parametrize(
    "value", ["9781234567897 x", 1700000000000, "a-very-long-title-of-a-book-in-words", True, None]
)
def test_numbers_and_words_are_kept(value: Any) -> None:
    """Digits whose check digit is not a card's, and long words, are no secrets."""
    assert Redactor(()).value(value, ("a",)) == value


def test_numbers_are_kept_as_they_are() -> None:
    """A decimal that a binary fraction would change stays as it was written."""
    redactor = Redactor(())
    assert redactor.value(Decimal("10.50"), ()) == 10.5
    assert redactor.value(Decimal("0.10000000000000000001"), ()) == "0.10000000000000000001"


def test_what_is_named_is_taken_out() -> None:
    """At the path, below it, and inside what is kept around it."""
    redactor = Redactor(("$.owner", "$.lines[*].note"))
    assert redactor.value("x", ("owner", "name")) == HIDDEN
    assert redactor.value({"owner": {"name": "x"}, "lines": [{"note": "y", "n": 1}]}, ()) == {
        "owner": HIDDEN,
        "lines": [{"note": HIDDEN, "n": 1}],
    }


def test_a_request_is_kept_without_values_of_its_query() -> None:
    """Names stay, for they say what was asked; segments that look secret go."""
    assert request_line("GET", "/books/7", None) == "GET /books/7"
    assert request_line("GET", "/u/a@example.org", "q=secret&page=2") == f"GET /u/{HIDDEN}?q=...&page=..."


def test_samples_are_few() -> None:
    """So many of a path, so many in all, and no more."""
    kept = Samples(Redactor(()))
    assert [kept.add("GET /", differing(1)) for _ in range(PER_PATH + 1)] == [True] * PER_PATH + [False]
    for number in range(2 * MOST):
        kept.add("GET /", differing(1, path=f"$.p{number}"))
    assert len(kept.kept) == MOST


@given(st.recursive(st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)))
def test_values_are_small(value: Any) -> None:
    """A value is cut off; whatever it is, it can be written."""
    kept = Samples(Redactor(()))
    kept.add("GET /", differing([value] * 500))
    assert len(kept.kept[0].control) <= MAX_VALUE
    kept.kept[0].control.encode("utf-8")


def test_a_value_that_is_not_there_is_empty() -> None:
    """What one side lacks is no null."""
    kept = Samples(Redactor(()))
    kept.add("GET /", Difference("$.a", "missing", "$.a", 1, None, ("a",)))
    kept.add("GET /", Difference("$.b", "extra", "$.b", None, None, ("b",)))
    assert [(sample.control, sample.candidate) for sample in kept.kept] == [("1", ""), ("", "null")]


@pytest.mark.parametrize("kind", ["header", "missing", "extra"])
def test_a_header_that_is_secret_is_not_kept(kind: Kind) -> None:
    """Values of cookies are compared, and stay out of the samples, also where only one side has one."""
    kept = Samples(Redactor(()))
    kept.add("GET /", Difference("header set-cookie", kind, "header set-cookie", "a=1", "a=2"))
    assert {kept.kept[0].control, kept.kept[0].candidate} <= {json.dumps(HIDDEN), ""}


def test_files_are_for_their_owner_and_read_together(tmp_path: Path) -> None:
    """Each process has a file that nobody else may read; of all of them, a path has so many samples."""
    for name in ("one", "two"):
        kept = Samples(Redactor(()))
        for number in range(4):
            kept.add(f"GET /{name}/{number}", differing(1))
        samples.put(tmp_path, name, samples.text({"books": kept}))
    found = samples.read(tmp_path, "books")
    assert {sample.path for sample in found["$.a"]} == {"$.a"}
    assert len(found["$.a"]) == PER_PATH
    assert isinstance(found["$.a"][0], Sample)
    assert samples.read(tmp_path, "other") == {}
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / samples.FOLDER).iterdir()] == [0o600, 0o600]


def test_files_of_old_processes_are_bounded(tmp_path: Path) -> None:
    """A gateway that is started again and again does not fill the disk; a broken file is passed over."""
    for number in range(samples.MAX_FILES + 3):
        samples.put(tmp_path, f"p{number}", samples.text({}))
    assert len(list((tmp_path / samples.FOLDER).glob("*.json"))) == samples.MAX_FILES
    (tmp_path / samples.FOLDER / "broken.json").write_text("{")
    assert samples.read(tmp_path, "books") == {}
