"""The JSON Schema of gateway.yaml says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from gateway_documents import CONTRADICTIONS, FULL, MISTAKES, UNSEEN

from skerry.gateway import reading

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = reading.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", [FULL, (ROOT / "examples/shop/gateway.yaml").read_text()], ids=["full", "shop"])
def test_the_schema_takes_what_the_reader_takes(validator: Any, text: str) -> None:
    """Good documents are valid."""
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in CONTRADICTIONS | UNSEEN])
def test_the_schema_refuses_what_the_reader_refuses(validator: Any, name: str) -> None:
    """A document with a value of the wrong kind is not valid."""
    assert not validator.is_valid(yaml.safe_load(MISTAKES[name][0]))


@pytest.mark.parametrize("name", sorted(CONTRADICTIONS))
def test_contradictions_are_left_to_the_reader(validator: Any, name: str) -> None:
    """What only contradicts something else is valid by the schema, as its description says."""
    assert validator.is_valid(yaml.safe_load(MISTAKES[name][0]))


def test_the_published_schema_is_current() -> None:
    """The file in the reference is what `skerry gateway schema` prints."""
    published = json.loads((ROOT / "docs/reference/gateway.schema.json").read_text())
    assert published == json.loads(json.dumps(reading.schema()))
