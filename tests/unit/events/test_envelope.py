import ast
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skerry.events
from skerry.errors import InvalidEvent
from skerry.events import Envelope
from skerry.events.envelope import MAX_BYTES, with_sequence

GOOD = {
    "specversion": "1.0",
    "id": "1",
    "source": "order",
    "type": "shop.order.placed",
    "time": "2026-01-01T00:00:00Z",
    "partitionkey": "a",
    "data": {"n": 1},
}


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


def made(**fields):
    return Envelope(
        **{"id": "1", "source": "s", "type": "t", "time": "now", "key": "k", "version": 1, "data": {}, **fields}
    )


@pytest.mark.parametrize(
    "text",
    [
        *[pytest.param(without(name), id=f"no {name}") for name in GOOD if name not in {"time", "data"}],
        *[
            pytest.param(json.dumps(GOOD | change), id=str(change)[:40])
            for change in [
                {"specversion": "0.3"},
                {"specversion": 1.0},
                {"id": ""},
                {"id": 7},
                {"id": "x" * 256},
                {"source": None},
                {"type": ["t"]},
                {"partitionkey": {}},
                {"data": [1]},
                {"data": "e30="},
                {"dataversion": 0},
                {"dataversion": True},
                {"dataversion": "1"},
                {"dataversion": 1.5},
                {"dataversion": 10**9},
                {"traceparent": 7},
                {"causationid": "x" * 256},
                {"partitionkey": ""},
                {"partitionkey": None, "subject": ["a"]},
                {"id": "a\x00"},
                {"time": 5},
                {"data": "text"},
                {"data": None, "data_base64": "e30="},
                {"datacontenttype": "application/xml"},
                {"datacontenttype": "application/cloudevents+json"},
                {"datacontenttype": "application/json; charset=utf-16"},
                {"datacontenttype": 7},
                {"dataschema": 7},
                {"sequence": 7},
                {"data": {"n": "\ud800"}},
                {"data": {"\udfff": 1}},
                {"id": "\ud800"},
            ]
        ],
        pytest.param(json.dumps(GOOD)[:-1] + ',"id":"2"}', id="duplicate name"),
        pytest.param(json.dumps(GOOD).replace('{"n": 1}', '{"n": 1, "n": 2}'), id="duplicate name in data"),
        pytest.param(json.dumps(GOOD | {"data": {"n": math.nan}}), id="NaN"),
        pytest.param(json.dumps(GOOD | {"data": {"n": -math.inf}}), id="Infinity"),
        pytest.param(json.dumps(GOOD).replace('{"n": 1}', "[" * 100_000 + "]" * 100_000), id="depth bomb"),
        pytest.param('{"a":' * 100_000, id="unclosed depth bomb"),
        pytest.param("\ufeff" + json.dumps(GOOD), id="BOM"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), id="BOM in bytes"),
        pytest.param(b"\xff\xfe{", id="not UTF-8"),
        pytest.param(b"\x80\x04\x95", id="pickle"),
        pytest.param(json.dumps(GOOD | {"data": {"n": "x" * MAX_BYTES}}), id="too large"),
        pytest.param("1" * 5000, id="a number of 5,000 digits"),
        pytest.param(json.dumps(GOOD).replace('{"n": 1}', '{"n": %s}' % ("1" * 5000)), id="5,000 digits in data"),
        pytest.param(json.dumps(GOOD).replace('{"n": 1}', '{"n": 1e999}'), id="a number beyond all floats"),
        pytest.param(json.dumps(GOOD).replace('"1"', '"\ud800"'), id="lone surrogate in the text itself"),
        pytest.param(json.dumps(GOOD).replace('"1"', '"\\uD83D"'), id="half of a pair, escaped"),
        pytest.param(None, id="None"),
        pytest.param(["{}"], id="a list"),
        "",
        "null",
        "[]",
        '"text"',
        "{",
    ],
)
def test_malformed_envelopes_are_refused(text):
    """Whatever is wrong with an envelope, reading it raises InvalidEvent and nothing else."""
    with pytest.raises(InvalidEvent):
        Envelope.from_json(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"n": math.nan}},
        {"data": {"n": math.inf}},
        {"data": {"n": "\ud800"}},
        {"data": {"n": object()}},
        {"data": {"n": "x" * MAX_BYTES}},
        {"data": {"n": "€" * (MAX_BYTES // 3 + 1)}},
        {"key": ""},
        {"key": "k" * 256},
        {"type": ""},
        {"id": "\udfff"},
        {"key": "a\nb"},
        {"causation": "x" * 256},
        {"traceparent": "\x1b"},
        {"version": 0},
        {"version": True},
        {"sequence": -1},
        {"sequence": 2**63},
        {"sequence": True + 0.5},
    ],
)
def test_what_could_not_be_read_is_not_written(fields):
    """An envelope that its reader would refuse is refused by its writer, where the mistake is."""
    with pytest.raises(InvalidEvent):
        made(**fields).to_json()
    with pytest.raises(InvalidEvent):
        made(**fields).to_headers_and_body()


def test_data_that_contains_itself_is_refused():
    """Endless data raises InvalidEvent."""
    data = {}
    data["data"] = data
    with pytest.raises(InvalidEvent):
        made(data=data).to_json()


def test_nothing_is_ever_unpickled():
    """No module of events imports a format that runs code when it is read."""
    for path in Path(skerry.events.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in getattr(node, "names", ())] + [getattr(node, "module", None)]
            assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"} & set(names), path


def test_names_beyond_ours_are_ignored():
    """Attributes of other extensions are read over; the defaults are version 1 and no trace."""
    envelope = Envelope.from_json(json.dumps(GOOD | {"datacontenttype": "application/json", "other": [1]}).encode())
    assert (envelope.version, envelope.traceparent, envelope.causation) == (1, "", "")


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"partitionkey": None, "subject": "s"}, {"key": "s"}),
        ({"subject": "s"}, {"key": "a"}),
        ({"time": None}, {"time": ""}),
        ({"data": None}, {"data": {}}),
        ({"datacontenttype": "text/json"}, {}),
        ({"datacontenttype": 'application/vnd.shop+json; charset="UTF-8"'}, {}),
        ({"dataversion": None, "dataschema": "https://example.org/schemas/shop.order.placed/3.json"}, {"version": 3}),
        ({"dataschema": "urn:shop:placed:v12"}, {"version": 12}),
        ({"dataschema": "https://example.org/schemas/placed#" + "x" * 400}, {"version": 1}),
        ({"dataschema": "https://example.org/draft/2020-12"}, {"version": 1}),
        ({"dataversion": 2, "dataschema": "urn:shop:placed:3"}, {"version": 2}),
        ({"sequence": "7"}, {"sequence": 7}),
        ({"sequence": "a7"}, {"sequence": 0}),
        ({"sequence": "9" * 19}, {"sequence": 0}),
        ({"sequence": None, "traceparent": None, "causationid": None}, {"sequence": 0, "traceparent": ""}),
        ({"data_base64": None, "other": {"deep": [1]}, "id": "\u00e9\n"}, {"id": "\u00e9\n"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_other_producers_may_send_is_read(change, read):
    """Legal envelopes that we would not write are read, and what is absent has the documented meaning."""
    envelope = Envelope.from_json(json.dumps(GOOD | change))
    assert {name: getattr(envelope, name) for name in read} == read


def test_a_surrogate_pair_is_a_character():
    """Characters beyond the first 65,536 may be written as two escapes."""
    assert Envelope.from_json(json.dumps(GOOD | {"id": "\U0001f600"})).id == "\U0001f600"


def test_the_written_form_stays_as_it_is():
    """The structured form is stored and sent between versions of skerry, so its text is fixed to the letter."""
    assert made(data={"n": 1}, traceparent="00-1", causation="c").to_json() == (
        '{"specversion":"1.0","id":"1","source":"s","type":"t","time":"now","subject":"k","partitionkey":"k",'
        '"dataversion":1,"datacontenttype":"application/json","data":{"n":1},"traceparent":"00-1","causationid":"c"}'
    )


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"a":1', made(sequence=1).to_json()])
@pytest.mark.parametrize("sequence", [1, 2**63 - 1])
def test_only_an_envelope_without_a_sequence_is_given_one(body, sequence):
    """Adding a sequence to what has one, or is no envelope, raises InvalidEvent."""
    with pytest.raises(InvalidEvent):
        with_sequence(body, sequence)


@pytest.mark.parametrize("sequence", [0, -1, 2**63, True, 1.0])
def test_a_sequence_counts_from_one(sequence):
    """A number that is no sequence number raises InvalidEvent."""
    with pytest.raises(InvalidEvent):
        with_sequence(made().to_json(), sequence)


def test_the_largest_event_can_be_given_a_sequence():
    """An event of the full size has at most 1 MiB also after the relay has counted it; one byte more is refused."""
    room = MAX_BYTES - 64 - len(made(data={"n": ""}).to_json())
    body = with_sequence(made(data={"n": "x" * room}).to_json(), 2**63 - 1)
    assert len(body) <= MAX_BYTES
    assert Envelope.from_json(body.encode()).sequence == 2**63 - 1
    with pytest.raises(InvalidEvent):
        made(data={"n": "x" * (room + 1)}).to_json()


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
envelopes = st.builds(
    Envelope,
    id=texts,
    source=texts,
    type=texts,
    time=st.just("") | texts,
    key=texts,
    version=st.integers(1, 1_000_000),
    data=st.dictionaries(texts, values, max_size=4),
    traceparent=st.just("") | texts,
    causation=st.just("") | texts,
    sequence=st.just(0) | st.integers(1, 2**63 - 1),
)


@given(envelopes)
def test_what_is_written_is_read_back(envelope):
    """Every envelope that can be written is read back as it was."""
    assert Envelope.from_json(envelope.to_json()) == envelope


@given(envelopes, st.integers(1, 2**63 - 1))
def test_a_sequence_added_to_the_text_is_the_attribute(envelope, sequence):
    """Adding the sequence to the written form is the same as writing the envelope with it."""
    plain, counted = replace(envelope, sequence=0), replace(envelope, sequence=sequence)
    assert with_sequence(plain.to_json(), sequence) == counted.to_json()


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_noise_is_refused(noise):
    """Reading arbitrary bytes or text raises InvalidEvent and nothing else."""
    with pytest.raises(InvalidEvent):
        Envelope.from_json(noise)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*GOOD, "subject", "dataversion", "dataschema", "datacontenttype", "data_base64", "sequence", "traceparent"]


@given(st.dictionaries(st.sampled_from(NAMES), anything, max_size=6))
def test_any_json_is_read_or_refused(changes):
    """Whatever stands in the attributes, reading gives an envelope or raises InvalidEvent; what is read can be stored."""
    try:
        envelope = Envelope.from_json(json.dumps(GOOD | changes))
    except InvalidEvent:
        return
    for name in ("id", "source", "type", "key", "time"):
        getattr(envelope, name).encode()
    json.dumps(envelope.data, allow_nan=False)
