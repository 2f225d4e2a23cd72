import dataclasses
import logging

import pytest

from skerry import signals
from skerry.signals import (
    BreakerChanged,
    Detail,
    Hub,
    ProcessChanged,
    RequestSent,
    RequestServed,
    SagaChanged,
    Signal,
)
from skerry.signals.calls import request_sent
from skerry.signals.changes import request_served


def test_every_subscriber_gets_every_signal():
    """Signals reach all subscribers in the order they subscribed, until they unsubscribe."""
    hub, seen = Hub(), []
    leave = hub.subscribe(lambda signal: seen.append(("first", signal)))
    hub.subscribe(lambda signal: seen.append(("second", signal)))
    signal = ProcessChanged(name="order", state="ready")
    hub.emit(signal)
    leave()
    leave()
    hub.emit(signal)
    assert seen == [("first", signal), ("second", signal), ("second", signal)]


def test_a_broken_subscriber_breaks_nobody(caplog):
    """What a subscriber raises is logged; the emitter and the other subscribers do not notice."""
    hub, seen = Hub(), []
    hub.subscribe(lambda _: 1 / 0)
    hub.subscribe(seen.append)
    with caplog.at_level(logging.ERROR):
        hub.emit(ProcessChanged(name="order", state="ready"))
    assert len(seen) == 1
    assert "a subscriber failed on ProcessChanged" in caplog.text


def test_subscribing_during_emit_takes_effect_next_time():
    """A subscriber added while a signal is handed out gets the next one."""
    hub, seen = Hub(), []
    leave = hub.subscribe(lambda _: hub.subscribe(seen.append))
    hub.emit(ProcessChanged(name="order", state="ready"))
    leave()
    assert seen == []
    hub.emit(ProcessChanged(name="order", state="stopped"))
    assert len(seen) == 1


def test_a_subscriber_hears_the_kinds_that_it_wants():
    """It is asked once for each kind, and nobody else hears less for it."""
    hub, some, every, asked = Hub(), [], [], []

    def wants(kind):
        asked.append(kind)
        return kind is ProcessChanged

    leave = hub.subscribe(some.append, wants=wants)
    told = [ProcessChanged(name="order", state="ready"), SagaChanged(saga="s", key="1", status="stuck")]
    assert (hub.hears(ProcessChanged), hub.hears(SagaChanged)) == (True, False)
    for signal in told * 2:
        hub.emit(signal)
    assert (some, asked) == ([told[0]] * 2, [ProcessChanged, SagaChanged])
    hub.subscribe(every.append)
    leave()
    for signal in told:
        hub.emit(signal)
    assert (len(some), every) == (2, told)
    assert hub.hears(SagaChanged)


def test_who_subscribes_twice_leaves_once_for_each():
    """The end of one subscription is not the end of another of the same subscriber, nor counted twice."""
    hub, seen = Hub(), []
    first, second = hub.subscribe(seen.append, measures=True), hub.subscribe(seen.append, measures=True)
    first()
    first()
    assert hub.measured
    hub.emit(ProcessChanged(name="order", state="ready"))
    second()
    assert (len(seen), hub.measured) == (1, False)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(signals).values() if isinstance(kind, type) and issubclass(kind, Signal)]
)
def test_signals_are_frozen_records(kind):
    """Every signal is frozen, slotted, keyword-only and documented."""
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__doc__
    assert not kind.__doc__.startswith(kind.__name__)


@pytest.mark.parametrize(
    ("kind", "quickly"), [(RequestSent, request_sent), (RequestServed, request_served)], ids=["sent", "served"]
)
def test_a_signal_that_is_made_quickly_is_one_like_any_other(kind, quickly):
    """What each call and each request tells equals what the class makes of the same fields, and cannot be written to."""
    told = {field.name: f"any {field.name}" for field in dataclasses.fields(kind)}
    signal = quickly(**told)
    assert (type(signal), signal, signal.level) == (kind, kind(**told), "debug")
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.seconds = 0.0


def test_levels_say_how_much_to_care():
    """Trouble has a higher level than recovery."""
    assert BreakerChanged(policy="p", before="closed", after="open", reason="").level == "warning"
    assert BreakerChanged(policy="p", before="open", after="closed", reason="").level == "info"
    assert SagaChanged(saga="s", key="1", status="stuck").level == "error"


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(signals).values() if isinstance(kind, type) and issubclass(kind, Detail)]
)
def test_what_comes_over_and_over_is_for_debug(kind):
    """Logs at their usual level leave details out, each of them."""
    assert kind(**dict.fromkeys((field.name for field in dataclasses.fields(kind)), 0)).level == "debug"
