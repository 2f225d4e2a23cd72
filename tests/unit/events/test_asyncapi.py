"""The export: judged by the official schema of AsyncAPI 3.0.0, and by validating real events with what it says."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel, Field
from referencing import Registry, Resource

from skerry.errors import ConfigurationError
from skerry.events import DomainEvent, Outbox
from skerry.events.schemas import describe, export
from skerry.testing import VirtualClock
from skerry.topology import ServiceSpec, System, Topic

OFFICIAL = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text())


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Paid(DomainEvent, type="shop.paid", version=2, key="order_id"):
    """An order is paid."""

    order_id: str
    means: Annotated[Card | Cash, Field(discriminator="kind")]
    const: str = "a field may have any name"


EVENT = Paid(order_id="7", means=Card(number="1"))


@pytest.fixture
def document():
    return export(system("sqlite:///events/"), {"shop.paid": {2: describe(Paid).schema}}, version="1.2.3")


def system(events):
    return System(
        name="shop",
        file=Path("skerry.toml"),
        events=events,
        topics={"shop.paid": Topic("shop.paid", "payment", "somebody paid")},
        services={
            "payment": ServiceSpec(name="payment", app="a:b", publishes=("shop.paid",)),
            "order": ServiceSpec(name="order", app="a:c", subscribes=("shop.paid",)),
        },
    )


def errors(document):
    return [f"{list(error.path)}: {error.message}"[:300] for error in Draft7Validator(OFFICIAL).iter_errors(document)]


def test_the_document_is_valid(document):
    """What is exported is valid for the official schema of AsyncAPI 3.0.0."""
    assert errors(document) == []
    assert errors({**document, "operations": {"x": {"action": "shout"}}})


def test_every_reference_leads_somewhere(document):
    """Each reference in the document stands for something in it."""
    found = re.findall(r'"\$ref": "(#[^"]*)"', json.dumps(document))
    assert len(found) == 8
    for reference in found:
        node = document
        for part in reference[2:].split("/"):
            node = node[part]


def test_who_publishes_and_who_reads(document):
    """Each service's part in each topic is an operation on the topic's channel."""
    operations = document["operations"]
    assert {name: each["action"] for name, each in operations.items()} == {
        "payment.send.shop.paid": "send",
        "order.receive.shop.paid": "receive",
    }
    assert operations["order.receive.shop.paid"]["channel"] == {"$ref": "#/channels/shop.paid"}
    assert document["channels"]["shop.paid"]["address"] == "shop.paid"
    assert document["info"]["version"] == "1.2.3"


def test_the_payload_describes_what_travels(document):
    """An event as the outbox records it is valid for the message's payload, and one with another field type is not."""
    root = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **document})
    message = "urn:asyncapi#/components/messages/shop.paid.v2/payload/schema"
    validator = Draft202012Validator({"$ref": message}, registry=Registry().with_resource("urn:asyncapi", root))
    body = json.loads(Outbox("payment", clock=VirtualClock()).seal(EVENT).to_json())
    assert [error.message for error in validator.iter_errors(body)] == []
    assert not validator.is_valid(body | {"data": body["data"] | {"means": {"kind": "stones"}}})
    assert not validator.is_valid(body | {"type": "shop.other"})


def test_the_broker_is_named_without_its_password():
    """A broker's host and protocol are exported, its user and password are not; a folder is no server."""
    schemas = {"shop.paid": {2: describe(Paid).schema}}
    exported = export(system("nats://user:secret@broker:4222"), schemas)
    assert exported["servers"] == {"events": {"host": "broker:4222", "protocol": "nats"}}
    assert errors(exported) == []
    assert "secret" not in json.dumps(exported)
    assert "servers" not in export(system("sqlite:///events/"), schemas)


def test_a_topic_has_to_be_frozen_first():
    """A topic without a schema is an error that names the command which freezes it."""
    with pytest.raises(ConfigurationError, match="skerry events freeze"):
        export(system("sqlite:///events/"), {})
