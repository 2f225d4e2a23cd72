"""Binary mode: attributes in headers, on each protocol."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import InvalidEvent
from skerry.events import Envelope
from skerry.events.binding import AMQP, HTTP, KAFKA, NATS, Binding

BINDINGS = {"http": HTTP, "kafka": KAFKA, "nats": NATS, "amqp": AMQP}
GOOD = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "order",
    "ce-type": "shop.order.placed",
    "ce-time": "2026-01-01T00:00:00Z",
    "ce-partitionkey": "a",
    "content-type": "application/json",
}
ENVELOPE = Envelope(
    id="1",
    source="/shop/order",
    type="shop.order.placed",
    time="2026-01-01T00:00:00Z",
    key='K\u00f6nig "1" 50%',
    version=2,
    data={"n": 1},
    causation="0",
    sequence=7,
)


def test_http_headers_are_those_of_the_binding():
    """Attributes have the prefix ce-, and what is not printable ASCII, a space, a quote or a percent sign is encoded."""
    headers, body = ENVELOPE.to_headers_and_body()
    key = "K%C3%B6nig%20%221%22%2050%25"
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/shop/order",
        "ce-type": "shop.order.placed",
        "ce-time": "2026-01-01T00:00:00Z",
        "ce-subject": key,
        "ce-partitionkey": key,
        "ce-dataversion": "2",
        "ce-causationid": "0",
        "ce-sequence": "7",
        "content-type": "application/json",
    }
    assert body == b'{"n":1}'


@pytest.mark.parametrize(
    ("binding", "name", "content_type"),
    [
        (KAFKA, "ce_partitionkey", "content-type"),
        (AMQP, "cloudEvents:partitionkey", "content-type"),
        (NATS, "ce-partitionkey", "ce-datacontenttype"),
    ],
    ids=["kafka", "amqp", "nats"],
)
def test_each_protocol_has_its_prefix(binding, name, content_type):
    """Kafka and AMQP carry texts as they are; NATS encodes them and names the content type like an attribute."""
    headers, _ = ENVELOPE.to_headers_and_body(binding)
    assert headers[name] == (ENVELOPE.key if not binding.percent else "K%C3%B6nig%20%221%22%2050%25")
    assert headers[content_type] == "application/json"


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50)
data = st.dictionaries(
    texts, st.none() | st.integers(-(2**60), 2**60) | texts | st.lists(texts, max_size=2), max_size=4
)


@pytest.mark.parametrize("binding", BINDINGS.values(), ids=BINDINGS)
@given(
    envelope=st.builds(
        Envelope,
        id=texts,
        source=texts,
        type=texts,
        time=st.just("") | texts,
        key=texts,
        version=st.integers(1, 1_000_000),
        data=data,
        traceparent=st.just("") | texts,
        causation=st.just("") | texts,
        sequence=st.just(0) | st.integers(1, 2**63 - 1),
    )
)
def test_what_is_written_is_read_back(binding, envelope):
    """On every protocol, what can be written is read back as it was, from headers of text or of bytes."""
    headers, body = envelope.to_headers_and_body(binding)
    assert Envelope.from_headers_and_body(headers, body, binding) == envelope
    raw = {name.upper(): value.encode() for name, value in headers.items()}
    assert Envelope.from_headers_and_body(raw, body, binding) == envelope
    if binding.percent:
        assert all(value.isascii() and value.isprintable() and " " not in value for value in headers.values())


@pytest.mark.parametrize(
    ("changes", "body", "read"),
    [
        ({"ce-partitionkey": None, "ce-subject": "s"}, b"{}", {"key": "s"}),
        ({"ce-time": None}, b"", {"time": "", "data": {}, "version": 1}),
        ({"content-type": None}, b'{"n": 1}', {"data": {"n": 1}}),
        ({"content-type": "application/vnd.x+json; charset=utf-8"}, b"{}", {}),
        ({"ce-dataschema": "https://example.org/placed/4"}, b"{}", {"version": 4}),
        ({"ce-id": '"a \\"b\\" 100%25"'}, b"{}", {"id": 'a "b" 100%'}),
        ({"ce-id": "%41"}, b"{}", {"id": "A"}),
        ({"ce-other": "x", "x-request-id": "y"}, b"{}", {}),
        ({"CE-Causationid": "c"}, b"{}", {"causation": "c"}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_other_producers_may_send_is_read(changes, body, read):
    """Legal messages that we would not write are read, and what is absent has the documented meaning."""
    headers = {name: value for name, value in (GOOD | changes).items() if value is not None}
    envelope = Envelope.from_headers_and_body(headers, body)
    assert {name: getattr(envelope, name) for name in read} == read


def test_amqp_reads_both_prefixes():
    """The AMQP binding allows two prefixes; the one without a colon is read too."""
    headers = {name.replace("ce-", "cloudEvents_"): value for name, value in GOOD.items()}
    assert Envelope.from_headers_and_body(headers, b"{}", AMQP).key == "a"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        *[({name: None}, b"{}") for name in ("ce-specversion", "ce-id", "ce-source", "ce-type", "ce-partitionkey")],
        ({"ce-specversion": "0.3"}, b"{}"),
        ({"ce-id": ""}, b"{}"),
        ({"ce-id": "x" * 256}, b"{}"),
        ({"ce-id": "x" * 5000}, b"{}"),
        ({"ce-id": "%ff"}, b"{}"),
        ({"ce-id": "%"}, b"{}"),
        ({"ce-id": "%4"}, b"{}"),
        ({"ce-id": "%00"}, b"{}"),
        ({"ce-id": b"\xff"}, b"{}"),
        ({"ce-id": "\ud800"}, b"{}"),
        ({"ce-id": 7}, b"{}"),
        ({"CE-ID": "2"}, b"{}"),
        ({"ce-dataversion": "0"}, b"{}"),
        ({"ce-dataversion": "x"}, b"{}"),
        ({"ce-dataversion": "9" * 5000}, b"{}"),
        ({"content-type": "application/cloudevents+json"}, b"{}"),
        ({"content-type": "application/cloudevents-batch+json; charset=utf-8"}, b"{}"),
        ({"content-type": "text/plain"}, b"{}"),
        ({"content-type": "application/json; charset=latin-1"}, b"{}"),
        ({}, b"[]"),
        ({}, b"null0"),
        ({}, b'{"a":1,"a":2}'),
        ({}, b'{"a":NaN}'),
        ({}, b'{"a":1e999}'),
        ({}, b'{"a":"\\ud800"}'),
        ({}, b"[" * 100_000),
        ({}, b" " * 2_000_000),
        ({}, "{}"),
        ({f"x-{number}": "" for number in range(300)}, b"{}"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_malformed_messages_are_refused(changes, body):
    """Whatever is wrong with a message, reading it raises InvalidEvent and nothing else."""
    headers = {name: value for name, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(InvalidEvent):
        Envelope.from_headers_and_body(headers, body)


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "ce-dataversion", "ce-sequence"]), st.text(max_size=40) | st.binary(max_size=40)
    ),
    st.binary(max_size=60) | st.just(b"{}"),
)
def test_any_message_is_read_or_refused(changes, body):
    """Arbitrary headers and bytes give an envelope that can be stored, or raise InvalidEvent."""
    try:
        envelope = Envelope.from_headers_and_body(GOOD | changes, body)
    except InvalidEvent:
        return
    json.dumps(envelope.data, allow_nan=False)
    for name in ("id", "source", "type", "key", "time"):
        getattr(envelope, name).encode()


def test_a_binding_is_a_value():
    """Two bindings with the same rules are equal, so that another protocol is one line."""
    assert Binding("ce-", percent=True) == HTTP
