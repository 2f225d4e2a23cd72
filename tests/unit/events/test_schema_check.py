"""What `skerry events check` finds: who breaks when an event changes in this way or that."""

from dataclasses import replace

import pytest

from skerry.events import DomainEvent
from skerry.events.schemas import ServiceEvents, check, describe


def declared(version=1, key="order_id", upcasts=(), **fields):
    """An event class with these fields: a type for one that is required, a pair of type and default for others."""
    fields = {"order_id": str, "amount": int} | fields
    fields = {name: kind for name, kind in fields.items() if kind is not None}
    body = {"__annotations__": {name: kind[0] if isinstance(kind, tuple) else kind for name, kind in fields.items()}}
    body |= {name: kind[1] for name, kind in fields.items() if isinstance(kind, tuple)}
    made = type(DomainEvent)("Placed", (DomainEvent,), body, type="shop.placed", version=version, key=key)
    for step in upcasts:
        made.upcast(from_version=step)(dict)
    return describe(made)


def registry(*classes):
    return {"shop.placed": {each.schema.version: each.schema for each in classes}}


def system(published, *readers):
    return [
        ServiceEvents("order", (published,)),
        *(ServiceEvents(f"reader{number}", (), (each,)) for number, each in enumerate(readers)),
    ]


def rules(found):
    return [(each.rule, each.file.removeprefix("schemas/shop.placed/"), each.field) for each in found]


V1 = declared()


def test_nothing_changed():
    """Code and files agree, and the reader knows every field: nothing is found."""
    reader = declared(amount=None)
    assert check(system(V1, reader), registry(V1), before=registry(V1)) == []


def test_what_is_published_has_to_be_frozen():
    """An event without a file is found, with the command that writes it."""
    (found,) = check(system(V1), {})
    assert found.rule == "not-frozen"
    assert "skerry events freeze" in str(found)


def test_a_frozen_version_must_not_change_in_the_code():
    """A field changed without a new version is found at that field."""
    changed = declared(amount=str)
    assert ("changed", "1.json", "amount") in rules(check(system(changed), registry(V1)))


def test_a_frozen_version_must_not_change_in_its_file():
    """A file that was edited is found by comparing with the revision, although the code agrees with it."""
    changed = declared(amount=str)
    assert check(system(changed), registry(changed)) == []
    found = check(system(changed), registry(changed), before=registry(V1))
    assert rules(found) == [("changed", "1.json", "amount")]
    assert "readers rely on shop.placed version 1" in str(found[0])


def test_a_class_has_to_read_what_it_writes():
    """An alias is read but not written: nobody could handle the event, so it is found before the first is recorded."""
    from pydantic import Field

    body = {"__annotations__": {"order_id": str, "amount": int}, "amount": Field(alias="Amount")}
    made = describe(type(DomainEvent)("Placed", (DomainEvent,), body, type="shop.placed", version=1, key="order_id"))
    assert ("unreadable", "1.json", "Amount") in rules(check(system(made), registry(made)))


CHANGES = {
    "a new field with a default": (declared(2, note=(str, "")), {"backward": [], "forward": []}),
    "a new field without": (declared(2, note=str), {"backward": ["note"], "forward": []}),
    "a field removed": (declared(2, amount=None), {"backward": [], "forward": ["amount"]}),
    "a field removed, that had a default": (declared(2, amount=(int, 0)), {"backward": [], "forward": []}),
    "wider": (declared(2, amount=float), {"backward": [], "forward": ["amount"]}),
    "another type": (declared(2, amount=str), {"backward": ["amount"], "forward": ["amount"]}),
    "with an upcaster": (declared(2, upcasts=[1], note=str), {"backward": [], "forward": []}),
    "another type with an upcaster": (declared(2, upcasts=[1], amount=str), {"backward": [], "forward": ["amount"]}),
}


@pytest.mark.parametrize("mode", ["backward", "forward", "full", "none"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_new_version_keeps_its_promise(mode, change):
    """Backward: the new class reads old events, by itself or by upcasters. Forward: the old class reads new ones."""
    new, expected = CHANGES[change]
    wanted = [
        (direction, "2.json", field)
        for direction in ("backward", "forward")
        if mode in {direction, "full"}
        for field in expected[direction]
    ]
    files = registry(V1, new)
    files["shop.placed"][2] = replace(new.schema, compatibility=mode)
    assert rules(check(system(new), files, before=registry(V1))) == wanted
    assert rules(check(system(new), registry(V1, new), compatibility=mode)) == wanted
    assert check(system(new), files, before=files) == []  # judged when it was new


def test_an_upcaster_for_each_step_is_needed():
    """With a version left out of the chain, old events cannot be read, and that is what is found."""
    v2, v3 = declared(2, note=(str, "")), declared(3, upcasts=[2], note=str, more=str)
    found = check(system(v3, v3), registry(V1, v2, v3))
    assert ("upcaster", "1.json", "") in rules(found)
    assert ("upcaster", "2.json", "") not in rules(found)
    assert "no upcaster from version 1" in " ".join(map(str, found))


def test_the_key_stays():
    """Another key breaks the order between old and new events, whatever the promise."""
    new = declared(2, key="amount", upcasts=[1])
    assert rules(check(system(new), registry(V1, new), compatibility="none")) == [("key", "2.json", "amount")]


def test_a_reader_has_to_take_the_same_key():
    """A reader that takes another field for the key is found: its events do not come in that order."""
    reader = declared(key="amount")
    assert rules(check(system(V1, reader), registry(V1))) == [("key", "1.json", "order_id")]


def test_every_reader_reads_every_newer_version():
    """A reader that relies on a field the new version lacks is named, also when no promise was made."""
    new = declared(2, upcasts=[1], amount=None)
    found = check(system(new, V1, declared(amount=None)), registry(V1, new), compatibility="none")
    assert rules(found) == [("reader", "2.json", "amount")]
    assert "reader0 cannot read shop.placed version 2" in str(found[0])


def test_a_reader_is_held_against_what_is_not_frozen_yet():
    """What the code publishes counts for readers before it is frozen."""
    new = declared(2, upcasts=[1], amount=None)
    assert ("reader", "2.json", "amount") in rules(check(system(new, V1), registry(V1)))


@pytest.mark.parametrize("reader", [declared(), declared(2, upcasts=[1])], ids=["old", "upcasting"])
def test_a_version_that_somebody_reads_is_not_removed(reader):
    """The file of a version goes only after its last reader."""
    new = declared(2, upcasts=[1])
    found = check(system(new, reader), registry(new), before=registry(V1, new))
    assert rules(found) == [("removed", "1.json", "")]
    assert "reader0 still uses it" in str(found[0])


def test_a_version_that_nobody_reads_may_go():
    """Without an upcaster from it, a removed version is gone for good, and nothing is found."""
    new = declared(2)
    assert check(system(new, declared(2)), registry(new), before=registry(V1, new)) == []


def test_a_type_that_somebody_reads_is_not_removed():
    """When all files of a type are gone and nobody publishes it, its readers are named."""
    found = check([ServiceEvents("kitchen", reads=(V1,))], {}, before=registry(V1))
    assert rules(found) == [("removed", "1.json", "")]
    assert check([], {}, before=registry(V1)) == []


def test_an_upcaster_of_the_readers_is_as_good_as_the_producers():
    """Whoever publishes need not read: the new version may differ when the classes that read it upcast."""
    new, reader = declared(2, amount=str), declared(2, upcasts=[1], amount=str)
    assert rules(check(system(new, reader), registry(V1, new), compatibility="backward")) == []


def test_an_upcaster_that_does_nothing_may_be_enough():
    """Where the old data fits the new class, the finding says that the upcaster has nothing to do."""
    new = declared(2, note=(str, ""))
    found = check(system(new, new), registry(V1, new))
    assert rules(found) == [("upcaster", "1.json", "")]
    assert "returns its argument is enough" in str(found[0])


def test_one_version_is_declared_once():
    """Two classes of one version that differ are found; two equal ones are not."""
    twice = [ServiceEvents("order", (V1, declared(note=(str, ""))))]
    assert "declared-twice" in [each.rule for each in check(twice, registry(V1))]
    assert check([ServiceEvents("order", (V1, declared()))], registry(V1)) == []


def test_a_topic_without_a_class_is_found():
    """What the system file says and no class declares cannot be checked, and that is said."""
    (found,) = check([ServiceEvents("order", undeclared=("shop.placed",))], {})
    assert (found.rule, found.file) == ("undeclared", "skerry.toml")


def test_a_finding_is_one_line_with_a_way_out():
    """Each finding says where, what, whom it breaks and what to do, on one line."""
    for found in check(system(declared(2, amount=str)), registry(V1, declared(2, amount=str))):
        assert "\n" not in str(found)
        assert str(found).count("; ") >= 2
        assert found.breaks
        assert found.remedy
