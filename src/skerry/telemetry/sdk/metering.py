"""Instruments of the SDK, one for each measure; their readers and views are the application's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider

from skerry import __version__, signals
from skerry.signals import Signal
from skerry.telemetry.conventions import SCHEMA_URL, SECONDS
from skerry.telemetry.gauges import GAUGES, Gauge
from skerry.telemetry.measures import MEASURES, Measure, Values

_LEFT: Final[Mapping[str, type[Signal]]] = {"server": signals.RequestServed, "client": signals.RequestSent}
_Attributes = dict[str, str | int | bool]


class Meters:
    """Moves the instruments of a provider as signals tell."""

    def __init__(self, provider: MeterProvider, instrumented: frozenset[str]) -> None:
        meter = provider.get_meter("skerry", __version__, schema_url=SCHEMA_URL)
        left = {_LEFT[side] for side in instrumented}
        self._instruments: dict[type[Signal], _Instrument] = {}
        for measure in MEASURES:
            if measure.signal not in left:
                self._instruments[measure.signal] = _Instrument(measure, _move(meter, measure))
        self._closed = False
        for gauge in GAUGES:
            meter.create_observable_gauge(gauge.name, [self._reader(gauge)], gauge.unit, gauge.text)

    def close(self) -> None:
        """Nothing more is read; instruments themselves cannot be taken back from a provider."""
        self._closed = True

    def _reader(self, gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            found = {} if self._closed else gauge.read()
            return [Observation(value, {"skerry.policy": policy}) for policy, value in found.items()]

        return read

    def heard(self, signal: Signal) -> None:
        """Move what this signal moves; it is of a kind that this `wants`."""
        self._instruments[type(signal)].move(signal)

    def wants(self, kind: type[Signal]) -> bool:
        """Whether signals of this kind move anything."""
        return kind in self._instruments


class _Instrument:
    def __init__(self, measure: Measure, move: Callable[[float, _Attributes], None]) -> None:
        self._measure = measure
        self._move = move
        self._attributes: dict[Values, _Attributes] = {}

    def move(self, signal: Signal) -> None:
        values = self._measure.of(signal)
        attributes = self._attributes.get(values)
        if attributes is None:
            told = zip(self._measure.attributes, values, strict=True)
            # what is not known is left out: no route, no status for want of an answer
            self._attributes[values] = attributes = {
                name: value for name, value in told if value not in {"", 0} or value is False
            }
        self._move(self._measure.amount(signal), attributes)


def _move(meter: Any, measure: Measure) -> Callable[[float, _Attributes], None]:
    """An instrument's own verb. Typed loosely, for each kind has another."""
    match measure.kind:
        case "counter":
            return meter.create_counter(measure.name, measure.unit, measure.text).add  # type: ignore[no-any-return]
        case "gauge":
            return meter.create_gauge(measure.name, measure.unit, measure.text).set  # type: ignore[no-any-return]
        case "histogram":
            made = meter.create_histogram(
                measure.name, measure.unit, measure.text, explicit_bucket_boundaries_advisory=SECONDS
            )
            return made.record  # type: ignore[no-any-return]
