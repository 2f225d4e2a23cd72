"""What a reader's schema accepts of a writer's: the rules one by one, then against two judges that know nothing of them."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, create_model

from skerry.events import DomainEvent
from skerry.events.schemas import describe, mismatches


def fields(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


INT, NUM, TEXT, NULL, BOOL = ({"type": kind} for kind in ("integer", "number", "string", "null", "boolean"))
ANYTHING = {}
LINE = fields("sku", "n", sku=TEXT, n=INT)
CARD = fields("kind", "number", kind={"const": "card", "type": "string"}, number=TEXT)
CASH = fields("kind", kind={"const": "cash", "type": "string"})
TREE = {"$defs": {"Node": fields("n", "of", n=INT, of={"type": "array", "items": {"$ref": "#/$defs/Node"}})}}
TREE = {**TREE, "$ref": "#/$defs/Node"}
TREE_OF_NUMBERS = json.loads(json.dumps(TREE).replace('"integer"', '"number"'))


def tagged(*branches):
    return {"oneOf": list(branches), "discriminator": {"propertyName": "kind"}}


def array(items, **limits):
    return {"type": "array", "items": items, **limits}


def pair(*prefix):
    return {"type": "array", "prefixItems": list(prefix), "minItems": len(prefix), "maxItems": len(prefix)}


UNDERSTOOD = {
    "the same": (LINE, LINE),
    "a field the reader does not know": (fields("sku", sku=TEXT), LINE),
    "a field the reader can do without": (fields("sku", sku=TEXT, n=INT), fields("sku", sku=TEXT)),
    "a whole number where any is read": (NUM, INT),
    "a bound taken away": ({"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 0}),
    "a tighter number": ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "minimum": 1, "maximum": 5}),
    "a multiple of a multiple": ({"type": "integer", "multipleOf": 5}, {"type": "integer", "multipleOf": 10}),
    "any whole number is a multiple of 1": ({"type": "number", "multipleOf": 1}, INT),
    "a shorter text": ({"type": "string", "maxLength": 10}, {"type": "string", "maxLength": 9, "minLength": 1}),
    "a format nobody asked for": (TEXT, {"type": "string", "format": "uuid"}),
    "null allowed": ({"anyOf": [INT, NULL]}, INT),
    "null among types": ({"type": ["integer", "null"]}, NULL),
    "one value more is known": ({"enum": ["a", "b"]}, {"const": "a"}),
    "listed values within bounds": ({"type": "integer", "minimum": 1, "maximum": 3}, {"enum": [1, 2, 3]}),
    "listed texts": ({"type": "string", "maxLength": 2}, {"enum": ["a", "bc"]}),
    "both truths": ({"enum": [True, False]}, BOOL),
    "alternatives regrouped": ({"anyOf": [TEXT, NUM, NULL]}, {"anyOf": [NULL, INT]}),
    "items": (array(NUM), array(INT, minItems=1)),
    "a pair as a list": (array({"anyOf": [INT, TEXT]}), pair(INT, TEXT)),
    "an empty list of anything": (array(INT), array({}, maxItems=0)),
    "a map": ({"type": "object", "additionalProperties": NUM}, {"type": "object", "additionalProperties": INT}),
    "fields as a map": ({"type": "object", "additionalProperties": NUM}, fields(a=INT, b=NUM)),
    "an alternative more": (tagged(CARD, CASH), CASH),
    "all alternatives": (tagged(CASH, CARD), tagged(CARD, CASH)),
    "recursive": (TREE, TREE),
    "recursive and wider": (TREE_OF_NUMBERS, TREE),
    "references with siblings": ({"$defs": {"A": NUM}, "allOf": [{"$ref": "#/$defs/A"}, {"minimum": 0}]}, {"const": 5}),
    "nothing is ever written": (INT, False),
    "anything is read": ({}, {"type": "object", "additionalProperties": True}),
    "forbidden fields that are not written": ({**LINE, "additionalProperties": False}, LINE),
    "number of fields": ({"type": "object", "minProperties": 1, "maxProperties": 2}, fields("a", a=INT, b=INT)),
    "the same pattern": (*[{"type": "string", "pattern": "^a"}] * 2,),
    "names by the same patterns": (*[{"type": "object", "patternProperties": {"^k": INT}}] * 2,),
}
REFUSED = {
    "a field is gone": (LINE, fields("sku", sku=TEXT), "n", "is not written"),
    "a field may be absent": (LINE, fields("sku", sku=TEXT, n=INT), "n", "may be absent"),
    "a new required field": (fields("a", "b", a=INT, b=INT), fields("a", a=INT), "b", "has to be there"),
    "another type": (fields(n=INT), fields(n=TEXT), "n", "is string, where integer is read"),
    "numbers that are not whole": (INT, NUM, "", "is number"),
    "a bound": ({"type": "integer", "minimum": 1}, INT, "", "below"),
    "a looser bound": ({"type": "number", "maximum": 5}, {"type": "number", "maximum": 5.5}, "", "above"),
    "an open bound": ({"type": "number", "exclusiveMaximum": 5}, {"type": "number", "maximum": 5}, "", "above"),
    "no multiple": ({"type": "integer", "multipleOf": 4}, {"type": "integer", "multipleOf": 6}, "", "multiple of 4"),
    "a longer text": ({"type": "string", "maxLength": 5}, {"type": "string", "maxLength": 6}, "", "maxLength 5"),
    "a pattern": ({"type": "string", "pattern": "^a"}, TEXT, "", "pattern"),
    "another format": ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, "", "format"),
    "null": (INT, {"anyOf": [INT, NULL]}, "", "may be null"),
    "a value nobody knows": ({"enum": ["a"]}, {"enum": ["a", "b"]}, "", 'may be "b"'),
    "truth is not 1": ({"const": 1}, {"const": True}, "", "may be True"),
    "any text for listed ones": ({"enum": ["a"]}, TEXT, "", 'only "a" is read'),
    "anything": (INT, {}, "", "may be anything"),
    "nothing is read": (False, INT, "", "not accepted"),
    "deep inside": (
        fields(lines=array(LINE)),
        fields(lines=array(fields("sku", sku=TEXT))),
        "lines[].n",
        "not written",
    ),
    "in a map": (*[{"type": "object", "additionalProperties": kind} for kind in (INT, TEXT)], "{}", "is string"),
    "in a pair": (pair(INT, INT), pair(INT, TEXT), "[1]", "is string"),
    "a list too long": (array(INT, maxItems=2), array(INT), "", "maxItems 2"),
    "a list too short": (array(INT, minItems=1), array(INT), "", "minItems 1"),
    "items twice": (array(INT, uniqueItems=True), array(INT), "", "twice"),
    "forbidden fields": ({**fields(a=INT), "additionalProperties": False}, fields(a=INT, b=INT), "b", "forbidden"),
    "extra fields": ({**fields(a=INT), "additionalProperties": False}, {"type": "object"}, "{}", "not accepted"),
    "an extra field of another type": (fields(a=INT), {"type": "object", "additionalProperties": TEXT}, "a", "string"),
    "an alternative nobody knows": (tagged(CARD), tagged(CARD, CASH), "kind", 'is "cash", which is none'),
    "no tag": (tagged(CASH), fields(kind={"const": "cash"}), "kind", "which alternative"),
    "several alternatives fit": ({"oneOf": [INT, NUM]}, INT, "", "cannot be decided"),
    "recursive and narrower": (TREE, TREE_OF_NUMBERS, "n", "is number"),
    "a word we do not know": ({"type": "integer", "not": {"const": 3}}, INT, "", "cannot be decided"),
    "a reference elsewhere": ({"$ref": "https://example.org/a"}, INT, "", "cannot be decided"),
    "names by patterns": ({"type": "object", "patternProperties": {"^k": INT}}, fields(k=INT), "", "cannot be decided"),
    "keys of another kind": (
        {"type": "object", "propertyNames": {"format": "uuid"}, "additionalProperties": INT},
        {"type": "object", "additionalProperties": INT},
        "",
        "propertyNames",
    ),
}


@pytest.mark.parametrize(("reader", "writer"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_what_surely_fits_is_understood(reader, writer):
    """A change that every reader survives has no finding."""
    assert mismatches(as_schema(reader), as_schema(writer)) == []


@pytest.mark.parametrize(("reader", "writer", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_what_may_not_fit_is_found(reader, writer, path, words):
    """A change that breaks a reader, or may, is found at its field with the reason."""
    found = mismatches(as_schema(reader), as_schema(writer))
    assert [(each.path, words in each.what) for each in found][:1] == [(path, True)], found


def as_schema(node):
    return {"allOf": [node]} if isinstance(node, bool) else node


def test_schemas_too_deep_to_compare_are_not_understood():
    """The comparison ends, and what it could not finish counts as not understood."""
    reader, writer = NUM, INT
    for _ in range(200):
        reader, writer = array(reader), array(writer)
    assert "cannot be decided" in mismatches(reader, writer)[0].what


def test_endless_references_are_not_understood():
    """A reference to itself is no schema anybody can read."""
    loop = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}
    assert "cannot be decided" in mismatches(loop, INT)[0].what


# --- the first judge: jsonschema, with schemas drawn at random

NAMES = ["a", "b", "c"]
scalars = st.one_of(
    st.sampled_from([NULL, BOOL, {}, {"const": 1}, {"const": True}, {"enum": ["x", "y", 1, None]}]),
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-3, 3),
        st.integers(0, 4),
    ),
    st.builds(
        lambda kind, low: {"type": kind, "exclusiveMinimum": low},
        st.sampled_from(["integer", "number"]),
        st.integers(-3, 3),
    ),
    st.sampled_from([INT, NUM, {"type": "number", "maximum": 2.5}, {"type": "integer", "multipleOf": 2}]),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    st.just(TEXT),
)


def objects(inner):
    def build(properties, required, extra):
        node = {"type": "object", "properties": properties, "required": sorted(required & properties.keys())}
        return node if extra is None else {**node, "additionalProperties": extra}

    return st.builds(
        build,
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        st.sets(st.sampled_from(NAMES)),
        st.none() | st.just(False) | inner,
    )


drawn = st.recursive(
    scalars,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(
            lambda node, low, more: array(node, minItems=low, maxItems=low + more),
            inner,
            st.integers(0, 1),
            st.integers(0, 2),
        ),
        st.builds(array, inner),
        st.lists(inner, min_size=1, max_size=2).map(lambda nodes: pair(*nodes)),
        st.builds(lambda node: {"type": "object", "additionalProperties": node}, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"anyOf": nodes}),
        st.lists(inner, min_size=1, max_size=2).map(lambda nodes: {"oneOf": nodes}),
        st.sampled_from([tagged(CARD, CASH), tagged(CASH)]),
    ),
    max_leaves=5,
)


@st.composite
def changed(draw, node):
    """A schema near another: a constraint less or more, a field optional, an alternative added, or something else."""
    if not isinstance(node, dict) or draw(st.integers(0, 9)) == 0:
        return draw(drawn)
    node = dict(node)
    if node.get("type") == "integer" and draw(st.booleans()):
        node["type"] = "number"
    for word in [
        word for word in ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems") if word in node
    ]:
        match draw(st.integers(0, 5)):
            case 0:
                del node[word]
            case 1:
                node[word] += -1 if word.startswith("min") and node[word] > 0 else 1
            case 2 if word.startswith("max") and node[word] > 1:
                node[word] -= 1
    if "required" in node and draw(st.booleans()):
        node["required"] = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    if "properties" in node and "kind" not in node["properties"]:
        node["properties"] = {name: draw(changed(each)) for name, each in node["properties"].items()}
    for word in [word for word in ("items", "additionalProperties") if isinstance(node.get(word), dict)]:
        node[word] = draw(changed(node[word]))
    return {"anyOf": [node, NULL]} if draw(st.integers(0, 4)) == 0 else node


def number_of(node):
    low = max(node.get("minimum", -5), node.get("exclusiveMinimum", -6) + (node["type"] == "integer"))
    high = max(low, node.get("maximum", low + 5))
    if node["type"] == "integer":
        return st.integers(low, high).map(lambda n: n * node.get("multipleOf", 1))
    return st.floats(low, high, exclude_min="exclusiveMinimum" in node and low < high)


def text_of(node):
    return st.text("xy", min_size=node.get("minLength", 0), max_size=node.get("maxLength", 4))


SCALARS = {
    "null": lambda _: st.none(),
    "boolean": lambda _: st.booleans(),
    "integer": number_of,
    "number": number_of,
    "string": text_of,
}


@st.composite
def written(draw, node):
    """A value that a writer with this schema may write: fields it declares, and others only where it says so."""
    if "const" in node or "enum" in node:
        return draw(st.sampled_from(node.get("enum", [node.get("const")])))
    if "anyOf" in node or "oneOf" in node:
        return draw(written(draw(st.sampled_from(node.get("anyOf") or node["oneOf"]))))
    node = {"type": draw(st.sampled_from(["null", "integer", "string", "object"])), **node}
    if node["type"] in SCALARS:
        return draw(SCALARS[node["type"]](node))
    if node["type"] == "array":
        first = node.get("prefixItems", [])
        count = draw(st.integers(node.get("minItems", 0), node.get("maxItems", node.get("minItems", 0) + 2)))
        return [draw(written(first[i] if i < len(first) else node.get("items", {}))) for i in range(count)]
    declared = node.get("properties", {})
    certain = node.get("required", ())
    value = {name: draw(written(each)) for name, each in declared.items() if name in certain or draw(st.booleans())}
    extra = node.get("additionalProperties", "properties" not in node)
    name = draw(st.sampled_from([*NAMES, "z"]))
    if extra is not False and name not in declared:
        value[name] = draw(written({} if extra is True else extra))
    return value


@st.composite
def versions(draw):
    """A writer's schema, a reader's near it, and values of the writer."""
    writer = draw(drawn)
    return writer, draw(changed(writer)), [draw(written(writer)) for _ in range(4)]


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(versions())
@example(({"anyOf": [INT, TEXT]}, {"oneOf": [ANYTHING, ANYTHING]}, [1]))
@example((INT, {"oneOf": [True, True]}, [1]))
def test_what_is_understood_is_valid(drawn_versions):
    """When nothing is found, every value the writer may write is valid for the reader's schema: jsonschema is the judge."""
    writer, reader, values = drawn_versions
    if mismatches(reader, writer):
        return
    for value in values:
        if Draft202012Validator(writer).is_valid(value):  # oneOf and bounds may leave some out
            assert Draft202012Validator(reader).is_valid(value), (reader, writer, value)


@given(drawn)
def test_a_reader_with_the_same_schema_understands(node):
    """Whatever the schema, who reads with it understands who writes with it."""
    assert mismatches(node, node) == []


# --- the second judge: pydantic itself, which is what reads


class Line(BaseModel):
    sku: str
    n: int = 1


class Wider(BaseModel):
    sku: str
    n: float = 1.0
    note: str | None = None


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str = "1"


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


SAMPLES = {
    int: [0, -7, 10**20],
    float: [0.0, 1.5, -1e300],
    str: ["", "a", "1", "2026-01-01"],
    bool: [True, False],
    UUID: [UUID(int=7)],
    datetime: [datetime(2026, 1, 1, tzinfo=UTC)],
    date: [date(2026, 1, 1)],
    Decimal: [Decimal("1.50"), Decimal(-3)],
    Annotated[Decimal, Field(gt=0)]: [Decimal("0.1")],
    Annotated[int, Field(ge=1, le=9)]: [1, 9],
    Annotated[str, Field(min_length=1, max_length=3)]: ["a", "abc"],
    Annotated[str, Field(pattern="^[a-z]+$")]: ["a"],
    Literal["a", "b"]: ["a", "b"],
    Literal["a"]: ["a"],
    int | None: [None, 4],
    int | str: [4, "x"],
    list[int]: [[], [1, 2]],
    list[float]: [[1.5]],
    set[int]: [{1, 2}],
    tuple[int, str]: [(1, "a")],
    tuple[int, ...]: [(), (1, 2)],
    dict[str, int]: [{}, {"a": 1}],
    dict[int, int]: [{1: 2}],
    dict[UUID, str]: [{UUID(int=7): "a"}],
    Line: [Line(sku="a"), Line(sku="b", n=4)],
    Wider: [Wider(sku="a", n=0.5, note="x")],
    list[Line]: [[], [Line(sku="a")]],
    Card: [Card()],
    Card | Cash: [Card(), Cash()],
    Annotated[Card | Cash, Field(discriminator="kind")]: [Card(number="7"), Cash()],
}
KINDS = list(SAMPLES)


def event(kind, default):
    value = (kind, SAMPLES[kind][0]) if default else (kind, ...)
    declared = {"type": "shop.x", "version": 1, "key": "id"}
    return create_model("Event", __base__=DomainEvent, __cls_kwargs__=declared, id=(str, ...), field=value)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_field_is_read_by_its_own_class(kind):
    """For everything pydantic can write and read back, the class is found to read what it writes."""
    schema = describe(event(kind, default=False)).schema
    assert mismatches(schema.reads, schema.writes) == []


@pytest.mark.parametrize("writer", KINDS, ids=str)
def test_what_is_understood_can_be_read(writer):
    """When nothing is found, the reader's class reads every sample that the writer's class writes: pydantic is the judge."""
    wrote = event(writer, default=False)
    writes = describe(wrote).schema.writes
    understood = []
    for kind in KINDS:
        reader = event(kind, default=True)
        if not mismatches(describe(reader).schema.reads, writes):
            understood.append(kind)
            for sample in SAMPLES[writer]:
                reader.model_validate(json.loads(wrote(id="1", field=sample).model_dump_json()))
    assert writer in understood
