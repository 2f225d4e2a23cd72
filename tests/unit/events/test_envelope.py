import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import InvalidEvent
from skerry.events import Envelope
from skerry.events.envelope import MAX_BYTES

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
        *[pytest.param(without(name), id=f"no {name}") for name in GOOD],
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
    ],
)
def test_what_could_not_be_read_is_not_written(fields):
    """An envelope that its reader would refuse is refused by its writer, where the mistake is."""
    with pytest.raises(InvalidEvent):
        made(**fields).to_json()


def test_data_that_contains_itself_is_refused():
    """Endless data raises InvalidEvent."""
    data = {}
    data["data"] = data
    with pytest.raises(InvalidEvent):
        made(data=data).to_json()


def test_names_beyond_ours_are_ignored():
    """Attributes of other extensions are read over; the defaults are version 1 and no trace."""
    envelope = Envelope.from_json(json.dumps(GOOD | {"datacontenttype": "application/json", "other": [1]}).encode())
    assert (envelope.version, envelope.traceparent, envelope.causation) == (1, "", "")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(texts, texts, st.integers(1, 1_000_000), st.dictionaries(texts, values, max_size=4), st.just("") | texts)
def test_what_is_written_is_read_back(identifier, key, version, data, causation):
    """Every envelope that can be written is read back as it was."""
    envelope = made(id=identifier, key=key, version=version, data=data, causation=causation)
    assert Envelope.from_json(envelope.to_json()) == envelope


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_noise_is_refused(noise):
    """Reading arbitrary bytes or text raises InvalidEvent and nothing else."""
    with pytest.raises(InvalidEvent):
        Envelope.from_json(noise)
