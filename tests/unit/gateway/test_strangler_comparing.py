"""Two answers and the rules of a shadow: what differs, by path and kind."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skerry.gateway import Normalise, Shadow
from skerry.gateway.strangler import paths
from skerry.gateway.strangler.comparing import MAX_DIFFERENCES, Answer, Difference, compare
from skerry.gateway.strangler.normalising import Rules

PLAIN = Rules(Shadow())
JSON = ((b"content-type", b"application/json"),)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=25,
)


def answer(body: Any, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = JSON) -> Answer:
    return Answer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def differ(control: Any, candidate: Any, **shadow: Any) -> list[tuple[str, str]]:
    found = compare(answer(control), answer(candidate), Rules(Shadow(**shadow)))
    return [(each.path, each.kind) for each in found]


@given(values)
def test_what_is_the_same_is_alike(value: Any) -> None:
    """An answer does not differ from itself, however its JSON is spaced and its objects are ordered."""
    other = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        other.decode()
    except UnicodeDecodeError:
        assume(False)
    assert compare(answer({"a": value}), answer(b'{"a": %b}' % other), PLAIN) == ()


@given(values, values)
def test_differences_are_the_same_from_both_sides(one: Any, other: Any) -> None:
    """Whoever is the control, the same paths differ; what one lacks, the other has more."""
    turned = {"missing": "extra", "extra": "missing"}
    there = compare(answer([one]), answer([other]), PLAIN)
    back = compare(answer([other]), answer([one]), PLAIN)
    assert {(each.path, turned.get(each.kind, each.kind)) for each in there} == {
        (each.path, each.kind) for each in back
    }


@given(values, st.data())
def test_a_change_anywhere_is_found_and_named(value: Any, data: st.DataObject) -> None:
    """One value that is another one is told by the path that leads to it, and by no other."""
    whole: Any = {"root": value}
    changed = copy.deepcopy(whole)
    steps: list[str | int] = ["root"]
    at, into = changed, changed["root"]
    while isinstance(into, dict | list) and into:
        step: Any = data.draw(st.sampled_from(sorted(into) if isinstance(into, dict) else range(len(into))))
        steps.append(step)
        at, into = into, into[step]
    at[steps[-1]] = "another" if into != "another" else None
    found = compare(answer(whole), answer(changed), PLAIN)
    assert [each.path for each in found] == [paths.counted(tuple(steps))]
    assert found[0].place == paths.written(tuple(steps))


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("$.a", "value")]),
        ({"a": 1}, {}, [("$.a", "missing")]),
        ({}, {"a": None}, [("$.a", "extra")]),
        ({"a": None}, {"a": 0}, [("$.a", "type")]),
        ({"a": True}, {"a": 1}, [("$.a", "type")]),
        ({"a": "1"}, {"a": 1}, [("$.a", "type")]),
        ({"a": []}, {"a": {}}, [("$.a", "type")]),
        ([1, 2], [1, 2, 3], [("$", "length")]),
        ([1, 2, 3], [3, 1, 2], [("$", "order")]),
        ([{"p": 1}, {"p": 2}], [{"p": 1}, {"p": 3}], [("$[*].p", "value")]),
        ([{"p": 1}, {"p": 2}], [{"p": 4}, {"p": 3}], [("$[*].p", "value")]),
        ({"a b": {"'": 1}}, {"a b": {"'": 2}}, [(r"$['a b']['\'']", "value")]),
        ({"12345": 1, "x": 1}, {"67890": 1, "x": 1}, [("$.*", "extra"), ("$.*", "missing")]),
    ],
)
def test_what_differs_is_told_by_path_and_kind(control: Any, candidate: Any, expected: list[tuple[str, str]]) -> None:
    """Each kind of difference has its name; places of an array and keys that are ids count together."""
    assert differ(control, candidate) == expected


@pytest.mark.parametrize(
    ("control", "candidate", "alike"),
    [
        (b'{"a": 1}', b'{"a": 1.0}', True),
        (b'{"a": 1e2}', b'{"a": 100}', True),
        (b'{"a": -0}', b'{"a": 0.0}', True),
        (b'{"a": 9007199254740993}', b'{"a": 9007199254740992}', False),
        (b'{"a": 0.1}', b'{"a": 0.10000000000000000001}', False),
        (b'{"a": 123456789012345678901234567890123456789012345678901}',) * 2 + (True,),
        (b'{"a": 1e400}', b'{"a": 1e401}', False),
        (b'{"a": 1e999999999}', b'{"a": 1e999999998}', False),
        (b'{"a": 1, "a": 2}', b'{"a": 2}', False),
        (b'{"a": NaN}', b'{"a": NaN} ', False),
        (b'{"a": "\\u00e9"}', '{"a": "é"}'.encode(), True),
        (b'{"a": 1} x', b'{"a": 1}', False),
    ],
)
def test_numbers_are_compared_exactly(control: bytes, candidate: bytes, alike: bool) -> None:
    """Values count, not how they are written, and nothing is rounded; what two readers could understand otherwise is bytes."""
    assert (compare(answer(control), answer(candidate), PLAIN) == ()) is alike


def test_bodies_without_json_are_compared_by_their_bytes() -> None:
    """It is told from which byte on they differ, and how long both are."""
    text = ((b"content-type", b"text/plain"),)
    found = compare(answer(b"one two", headers=text), answer(b"one too", headers=text), PLAIN)
    assert found == (Difference("body", "body", "body from byte 5 on", 7, 7),)


def test_json_against_something_else_is_another_type() -> None:
    """When only one of two bodies is JSON, the whole is of another type."""
    assert differ({"a": 1}, b"<html>") == [("$", "type")]


def test_another_status_is_all_that_is_told() -> None:
    """The bodies of different statuses have nothing to do with each other."""
    found = compare(answer({"a": 1}), answer({"b": 1}, status=500), PLAIN)
    assert found == (Difference("status", "status", "status", 200, 500),)


def test_chosen_headers_have_to_be_alike() -> None:
    """Others are not looked at; a media type has no case, and JSON no charset."""
    rules = Rules(Shadow(headers=("content-type", "etag")))
    control = answer({}, headers=((b"content-type", b"application/json"), (b"etag", b'"1"'), (b"date", b"now")))
    candidate = answer({}, headers=((b"content-type", b"Application/JSON; Charset=UTF-8"), (b"date", b"then")))
    assert compare(control, candidate, rules) == (Difference("header etag", "missing", "header etag", '"1"', None),)


@pytest.mark.parametrize(
    ("rule", "control", "candidate", "alike"),
    [
        (Normalise("$.a", "round", digits=2), 10.004, 10.0, True),
        (Normalise("$.a", "round", digits=2), 10.01, 10.0, False),
        (Normalise("$.a", "round"), 1e-300, 0, True),
        (Normalise("$.a", "time", within=1.0), "2026-11-29T10:00:00Z", "2026-11-29T11:00:01+01:00", True),
        (Normalise("$.a", "time", within=1.0), "2026-11-29T10:00:00Z", "2026-11-29T10:00:02Z", False),
        (Normalise("$.a", "time", within=1.0), 1000, 1000.5, True),
        (Normalise("$.a", "time", within=1.0), "soon", "later", False),
        (Normalise("$.a", "unordered"), [1, {"b": 2}], [{"b": 2.0}, 1], True),
        (Normalise("$.a", "unordered"), [1, 1, 2], [1, 2, 2], False),
        (Normalise("$.a", "case"), "STRASSE", "straße", True),
        (Normalise("$.a", "space"), " a\n b ", "a b", True),
        (Normalise("$.a", "space"), "ab", "a b", False),
        (Normalise("$.b", "case"), "A", "a", False),
    ],
)
def test_values_are_normalised_on_both_sides(rule: Normalise, control: Any, candidate: Any, alike: bool) -> None:
    """What a rule makes the same is alike, at its path alone."""
    assert (differ({"a": control}, {"a": candidate}, normalise=(rule,)) == []) is alike


def test_what_is_ignored_is_not_looked_at() -> None:
    """Neither at the path nor below it, nor whether it is there; but how long an array is counts."""
    ignore = ("$.ts", "$.lines[*].id", "$.*.trace", "$.tags[0]")
    control = {"ts": 1, "lines": [{"id": 1, "p": 2}], "meta": {"trace": {"x": 1}}, "tags": ["a", "b"]}
    candidate = {"lines": [{"id": [2], "p": 2}], "meta": {}, "tags": [0, "b"]}
    assert differ(control, candidate, ignore=ignore) == []
    assert differ(control, {**candidate, "tags": [0]}, ignore=ignore) == [("$.tags", "length")]


def test_values_within_an_unordered_array_are_normalised_first() -> None:
    """The order is found by what is left after the rules for what is inside."""
    rules = (Normalise("$.a", "unordered"), Normalise("$.a[*].p", "round", digits=1))
    control = {"a": [{"p": 1.04, "t": 1}, {"p": 2, "t": 2}]}
    candidate = {"a": [{"p": 2.01, "t": 9}, {"p": 1, "t": 8}]}
    assert differ(control, candidate, normalise=rules, ignore=("$.a[*].t",)) == []


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        (b"[" * 100_000, b"[" * 100_001),
        (b'{"a":' * 60 + b"1" + b"}" * 60, b'{"a":' * 60 + b"2" + b"}" * 60),
        (b"[" + b"1," * 60_000 + b"1]", b"[" + b"2," * 60_000 + b"1]"),
        (b"[" + b"[]," * 60_000 + b"1]", b"[" + b"{}," * 60_000 + b"1]"),
        (b"[" + b"9" * 200_000 + b"]", b"[" + b"8" * 200_000 + b"]"),
    ],
    ids=["deep", "nested", "long", "many", "digits"],
)
def test_hostile_bodies_are_compared_all_the_same(control: bytes, candidate: bytes) -> None:
    """Depth, number and length exhaust neither the stack nor the patience, and the difference is told once."""
    assert len(compare(answer(control), answer(candidate), PLAIN)) == 1


def test_the_places_that_are_told_are_bounded() -> None:
    """A body that differs everywhere does not become a list of everything."""
    control = {f"k{''.join(chr(97 + int(d)) for d in str(number))}": 1 for number in range(1000)}
    assert len(differ(control, dict.fromkeys(control, 2))) == MAX_DIFFERENCES


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.lines[*].price", ("lines", None, "price")),
        ("$['a b'][0].*", ("a b", 0, None)),
        (r"$['it\'s \\']", (r"it's \ ".strip(),)),
    ],
)
def test_a_path_is_read_and_written(text: str, steps: paths.Path) -> None:
    """What `parse` makes of a path, `written` makes the path of."""
    assert paths.parse(text) == steps
    assert paths.parse(paths.written(steps)) == steps


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lines", "has to begin with $"),
        ("$.", "from character 2 on"),
        ("$.a[b]", "from character 4 on"),
        ("$..a", "from character 2 on"),
        ("$.a[1:2]", "from character 4 on"),
        ("$.a[-1]", "from character 4 on"),
        ("$['a]", "from character 2 on"),
        ("$" + "[0]" * 33, "at most 32 steps"),
        ("$." + "a" * 500, "at most 500 characters"),
    ],
)
def test_a_path_that_is_none_is_refused(text: str, why: str) -> None:
    """The error says what is wrong, and where."""
    with pytest.raises(ValueError, match=why.replace("$", r"\$")):
        paths.parse(text)


@given(st.lists(st.text(max_size=80) | st.integers(0, 999_999), max_size=8))
def test_no_key_gets_out_of_its_path(steps: list[str | int]) -> None:
    """Whatever a key is, its path stays one line, and is a path again."""
    told = paths.counted(tuple(steps))
    assert len(told.splitlines()) == 1
    assert len(told) <= paths.MAX_COUNTED
    assert len(paths.parse(told)) <= len(steps)


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        ([{"a": True}], [{"a": 1}], [("$[*].a", "type")]),
        ([[0], [1.0]], [[False], [1]], [("$[*][*]", "type")]),
        ([{"a": 1, "b": 1.0}], [{"b": 1, "a": 1}], []),
        ([7, 1, 2, 8], [7, 2, 1, 8], [("$", "order")]),
        ([1, 1, 2], [1, 2, 2], [("$[*]", "value")]),
    ],
)
def test_values_that_python_takes_for_the_same_may_differ(
    control: Any, candidate: Any, expected: list[tuple[str, str]]
) -> None:
    """True is no number, and a number is one however it is written, inside of arrays too."""
    assert differ(control, candidate) == expected


def test_the_only_difference_of_a_long_body_is_found() -> None:
    """However much is alike before it."""
    control = {
        f"k{chr(97 + number % 26) * (number % 40)}_{number % 9973}": [number, {"a": number}] for number in range(30_000)
    }
    last = next(reversed(control))
    candidate = {**control, last: [0, {"a": "wrong"}]}
    assert [kind for _, kind in differ(control, candidate)] == ["value", "type"]


@pytest.mark.parametrize("secret", ["sk_live_abcdefghijklmnop", "someone@example.org", "4111 1111 1111 1111"])
def test_a_key_that_looks_secret_is_in_no_path(secret: str) -> None:
    """Paths are counted, written and shown: such a key is `*` there."""
    assert differ({"by": {secret: {"a": 1}}}, {"by": {secret: {"a": 2}}}) == [("$.by.*.a", "value")]


few = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, 10**30, "", "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def alike(one: Any, other: Any) -> bool:
    """What JSON calls the same, told as plainly as can be."""
    kinds = [type(each) for each in (one, other)]
    if all(kind in {int, float} for kind in kinds):
        return bool(one == other)
    if kinds[0] is not kinds[1]:
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    return bool(one == other)


@given(few, few)
def test_two_bodies_are_alike_exactly_when_they_say_the_same(one: Any, other: Any) -> None:
    """Against a comparison that knows no short cuts: booleans are no numbers, however deep they are."""
    assert (differ([one], [other]) == []) is alike(one, other)
    assert (differ({"a": [one, 0, other]}, {"a": [other, 0, one]}) == []) is alike(one, other)
