"""The registry: what is frozen, in which form, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from skerry.errors import ConfigurationError, SchemaChanged
from skerry.events import DomainEvent
from skerry.events.schemas import EventSchema, describe, freeze, mismatches, read
from skerry.events.schemas.differences import differences


class Line(BaseModel):
    sku: str
    amount: int = 1


class Placed(DomainEvent, type="shop.order.placed", version=1, key="order_id"):
    """An order was placed."""

    order_id: str
    lines: list[Line]
    currency: str = "EUR"


PLACED = replace(describe(Placed).schema, owner="order")


def with_field(name, node):
    return replace(PLACED, writes={**PLACED.writes, "properties": {**PLACED.writes["properties"], name: node}})


def test_the_schema_says_what_is_written_and_what_is_read():
    """Every field is written, also one with a default; only fields without a default have to be there to be read."""
    assert PLACED.writes["required"] == ["order_id", "lines", "currency"]
    assert PLACED.reads["required"] == ["order_id", "lines"]
    assert PLACED.writes["$defs"]["Line"]["required"] == ["sku", "amount"]
    body = json.loads(Placed(order_id="1", lines=[Line(sku="a")]).model_dump_json())
    assert Draft202012Validator(PLACED.writes).is_valid(body)


def test_the_frozen_text_is_always_the_same():
    """Equal schemas have equal texts, ordered and with a line feed at the end, so that a diff shows changes only."""
    text = PLACED.to_text()
    assert text.endswith("}\n")
    assert json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n" == text
    assert EventSchema.from_text(text, "x") == PLACED
    assert EventSchema.from_text(text.encode(), "x").to_text() == text
    Draft202012Validator.check_schema(json.loads(text))


def test_freezing_writes_each_version_once(tmp_path):
    """A new version is written whole; freezing it again leaves it alone."""
    first = freeze(tmp_path, [PLACED, PLACED])
    assert (first.new, first.unchanged) == (("schemas/shop.order.placed/1.json",), ())
    assert (tmp_path / "schemas/shop.order.placed/1.json").read_text() == PLACED.to_text()
    assert freeze(tmp_path, [PLACED]).unchanged == first.new
    assert read(tmp_path) == {"shop.order.placed": {1: PLACED}}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.json", "schemas", "shop.order.placed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_field("currency", {"type": "integer"}), 'currency has type "integer" instead of "string"'),
        (with_field("note", {"type": "string"}), "note was added"),
        (replace(PLACED, key="currency"), "currency became the key, which was order_id"),
        (replace(PLACED, reads=PLACED.writes), "currency became required"),
        (
            replace(PLACED, writes={**PLACED.writes, "$defs": {"Line": {"type": "object", "properties": {}}}}),
            "lines[].sku was removed",
        ),
    ],
    ids=["another type", "another field", "another key", "required", "deep inside"],
)
def test_a_frozen_version_never_changes(tmp_path, change, words):
    """Freezing another schema under a frozen version is refused with the field and the way out, and nothing is written."""
    freeze(tmp_path, [PLACED])
    later = replace(PLACED, version=2)
    with pytest.raises(SchemaChanged) as caught:
        freeze(tmp_path, [later, change])
    assert words in str(caught.value)
    assert "raise the event's version to 2" in str(caught.value)
    assert list(read(tmp_path)["shop.order.placed"].values()) == [PLACED]


def test_texts_for_people_may_change(tmp_path):
    """Titles and descriptions are renewed; the order of fields does not matter, and the promise of the file stays."""
    freeze(tmp_path, [PLACED], compatibility="backward")
    fields = dict(reversed(PLACED.writes["properties"].items()))
    again = replace(PLACED, writes={**PLACED.writes, "properties": fields, "description": "Now better explained."})
    assert freeze(tmp_path, [again]).refreshed == ("schemas/shop.order.placed/1.json",)
    kept = read(tmp_path)["shop.order.placed"][1]
    assert (kept.compatibility, kept.writes["description"]) == ("backward", "Now better explained.")


def test_two_classes_cannot_declare_one_version_differently(tmp_path):
    """One version of an event has one schema; two that differ are refused."""
    with pytest.raises(SchemaChanged, match="two classes"):
        freeze(tmp_path, [PLACED, with_field("note", {"type": "string"})])


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("a/x.json", "{}", "TYPE/VERSION.json"),
        ("a/0.json", "{}", "TYPE/VERSION.json"),
        ("shop.order.placed/2.json", PLACED.to_text(), "belongs into"),
        ("a/1.json", "{", "is not JSON"),
        ("a/1.json", "[" * 100_000, "is not JSON"),
        ("a/1.json", b"\xff", "is not JSON"),
        ("a/1.json", " " * 1_100_000, "larger than"),
        ("a/1.json", "[]", "no x-skerry"),
        ("a/1.json", "{}", "no x-skerry"),
        ("a/1.json", '{"x-skerry": {"type": "../a", "version": 1, "key": "k"}}', "no type and version"),
        ("a/1.json", '{"x-skerry": {"type": "a", "version": "1", "key": "k"}}', "no type and version"),
        ("a/1.json", '{"x-skerry": {"type": "a", "version": 1}}', "needs key"),
        ("a/1.json", '{"x-skerry": {"type": "a", "version": 1, "key": "k", "compatibility": "half"}}', "needs key"),
    ],
)
def test_a_file_that_is_no_frozen_event_is_named(tmp_path, path, text, words):
    """Whatever else stands in the registry is an error that names the file."""
    file = tmp_path / "schemas" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=words) as caught:
        read(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "a..b", ".a", "a b", "a" * 201, "ä"])
def test_a_type_that_is_no_name_of_a_folder_is_refused(name):
    """The type becomes part of a path, so nothing else than a plain name is taken."""

    class Odd(DomainEvent, type=name, version=1, key="a"):
        a: str

    with pytest.raises(ConfigurationError, match=r"like shop\.order\.placed"):
        describe(Odd)


class Thing:
    pass


def test_what_json_schema_cannot_describe_is_named():
    """A class whose fields have no schema is an error with its name."""

    class Odd(DomainEvent, type="shop.odd", version=1, key="a", arbitrary_types_allowed=True):
        a: str
        thing: Thing

    with pytest.raises(ConfigurationError, match="Odd cannot be described"):
        describe(Odd)


KEYWORDS = [
    *("properties", "required", "items", "prefixItems", "additionalProperties", "patternProperties", "anyOf", "oneOf"),
    *("allOf", "const", "enum", "type", "format", "minimum", "maxLength", "minItems", "multipleOf", "discriminator"),
    *("$ref", "$defs", "uniqueItems", "propertyNames", "maxProperties", "title", "not", "propertyName"),
]
noise = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["integer", "object", "array", "#", "#/$defs/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4),
    max_leaves=12,
)
block = st.just({"type": "a", "version": 1, "key": "k"})


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYWORDS), noise, max_size=4), noise, block | noise)
def test_any_file_is_a_schema_or_an_error(document, reads, about):
    """Whatever stands in a file, reading it gives a schema that can be compared, or raises ConfigurationError."""
    extra = {"reads": reads} if isinstance(about, dict) and isinstance(reads, dict) else {}
    try:
        schema = EventSchema.from_text(json.dumps(document | {"x-skerry": about | extra if extra else about}), "x")
    except ConfigurationError:
        return
    for reader in (schema.reads, schema.writes, PLACED.reads):
        mismatches(reader, schema.writes)
        mismatches(schema.writes, reader)
    differences(schema, PLACED)
    differences(PLACED, schema)
