from uuid import UUID

import pytest
from pydantic import Field, field_validator

from skerry.errors import InvalidEvent
from skerry.events import DomainEvent, Envelope, Outbox
from skerry.testing import VirtualClock

ORDER = "0b6f4a3e-8c7e-4c0a-9d55-0f2c8f3a1a11"


class Placed(DomainEvent, type="shop.placed", version=3, key="order"):
    order: UUID
    total: int
    currency: str = "EUR"
    notes: dict[str, int] = Field(default_factory=dict)


@Placed.upcast(from_version=1)
def rename(old):
    return {"order": old["id"], "amount": old["amount"]}


@Placed.upcast(from_version=2)
def in_cents(old):
    return {"order": old["order"], "total": old["amount"] * 100}


def envelope(data, version=3):
    return Envelope("1", "s", "shop.placed", "now", ORDER, version, data)


def test_an_event_travels_and_comes_back():
    """What is sealed and read again is the same event, with its envelope."""
    event = Placed(order=UUID(ORDER), total=5)
    sealed = Outbox("order", clock=VirtualClock()).seal(event)
    read = Placed.from_envelope(Envelope.from_json(sealed.to_json()))
    assert read.model_dump() == event.model_dump()
    assert (read.key, read.envelope.source, read.envelope.version) == (ORDER, "order", 3)
    assert sealed.time == "2025-06-15T15:06:40.000Z"


def test_an_event_made_here_has_no_envelope():
    """Asking an event that was not delivered for its envelope raises InvalidEvent."""
    with pytest.raises(InvalidEvent, match="was not delivered"):
        _ = Placed(order=UUID(ORDER), total=5).envelope


def test_old_versions_are_brought_up_to_date_step_by_step():
    """Data of version 1 goes through both upcasters, that of version 2 through the second; the original stays."""
    first = {"id": ORDER, "amount": 5}
    assert Placed.from_envelope(envelope(first, 1)).total == 500
    assert Placed.from_envelope(envelope({"order": ORDER, "amount": 5}, 2)).total == 500
    assert first == {"id": ORDER, "amount": 5}


def test_newer_versions_are_read_as_far_as_known():
    """Data of a newer version is read without the fields that are not known here."""
    assert Placed.from_envelope(envelope({"order": ORDER, "total": 5, "later": True}, 9)).total == 5


def test_a_failing_upcaster_is_an_invalid_event():
    """An upcaster that stumbles over the data raises InvalidEvent without any of it."""
    with pytest.raises(InvalidEvent, match=r"upcasting version 1: KeyError") as caught:
        Placed.from_envelope(envelope({"secret": 1}, 1))
    assert "secret" not in str(caught.value)


def test_a_missing_upcaster_is_an_invalid_event():
    """A version without an upcaster raises InvalidEvent."""

    class Fresh(DomainEvent, type="shop.fresh", version=2, key="order"):
        order: str

    with pytest.raises(InvalidEvent, match="no upcaster from version 1"):
        Fresh.from_envelope(envelope({"order": "a"}, 1))


@pytest.mark.parametrize(
    "data",
    [
        {"order": "secret", "total": 1},
        {"order": ORDER, "total": "secret"},
        {"order": ORDER, "total": 1, "notes": {"secret": "x"}},
    ],
)
def test_a_validation_error_never_holds_the_data(data):
    """The text of InvalidEvent names the field and the rule, and nothing out of the data."""
    with pytest.raises(InvalidEvent, match=r"^shop.placed version 3: (order|total|notes): \w+$"):
        Placed.from_envelope(envelope(data))


def test_a_validators_own_text_is_left_out():
    """What a validator of the user says may hold the data, so it is left out."""

    class Strict(DomainEvent, type="shop.strict", key="card"):
        card: str

        @field_validator("card")
        @classmethod
        def check(cls, value):
            raise ValueError(f"{value} is not a card")

    with pytest.raises(InvalidEvent, match=r": card: value_error$"):
        Strict.from_envelope(envelope({"card": "4111"}, 1))


def test_events_are_frozen():
    """A fact does not change."""
    with pytest.raises(ValueError, match="frozen"):
        Placed(order=UUID(ORDER), total=5).total = 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "order"}, "needs type="),
        ({"type": "x" * 256, "key": "order"}, "needs type="),
        ({"type": "order.placed\n", "key": "order"}, "needs type="),
        ({"type": "x"}, "key='' is not one of its fields"),
        ({"type": "x", "key": "other"}, "key='other' is not one of its fields"),
        ({"type": "x", "key": "order", "version": 0}, "versions count from 1"),
    ],
)
def test_declarations_are_checked(options, message):
    """A class without a type, a key among its fields, or a version from 1 is refused when it is declared."""
    with pytest.raises(TypeError, match=message):

        class Wrong(DomainEvent, **options):
            order: str


@pytest.mark.filterwarnings("ignore:Field name")
def test_reserved_names_are_refused():
    """A field may not take the name of `key` or `envelope`: events would be put in order by it."""
    with pytest.raises(TypeError, match="'key' is taken"):

        class Wrong(DomainEvent, type="x", key="order"):
            order: str
            key: str


@pytest.mark.parametrize("version", [0, 3, 4])
def test_upcasters_start_from_an_older_version(version):
    """An upcaster from a version that is not older than the class is refused."""
    with pytest.raises(TypeError, match="no version"):
        Placed.upcast(from_version=version)


def test_a_second_upcaster_from_one_version_is_a_mistake():
    """Which of two functions runs must not depend on the order of imports."""
    with pytest.raises(TypeError, match="already"):
        Placed.upcast(from_version=1)(rename)


def test_an_upcaster_is_a_function():
    """Registering what cannot be called is reported where it is registered; a static method can be called."""

    class Moved(DomainEvent, type="shop.moved", version=3, key="order"):
        order: str

        @staticmethod
        def renamed(old):
            return {"order": old["id"]}

    with pytest.raises(TypeError, match="is a function"):
        Moved.upcast(from_version=1)("renamed")
    Moved.upcast(from_version=2)(Moved.__dict__["renamed"])
    assert Moved.from_envelope(Envelope("1", "s", "shop.moved", "now", "o", 2, {"id": "o"})).order == "o"


def test_missing_upcasters_are_named():
    """A class says from which versions it cannot read, so that a gap is found before an event falls into it."""

    class Gap(DomainEvent, type="shop.gap", version=4, key="order"):
        order: str

    Gap.upcast(from_version=2)(dict)
    assert Placed.missing_upcasters() == ()
    assert Gap.missing_upcasters() == (1, 3)
    assert Gap.missing_upcasters(since=3) == (3,)
    assert Gap.missing_upcasters(since=4) == ()
