"""`DomainEvent`: a typed, versioned, keyed fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from skerry.errors import InvalidEvent
from skerry.events.envelope import MAX_TEXT, Envelope

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class DomainEvent(BaseModel):
    """A fact that happened, named in the past tense. Frozen; unknown fields of newer versions are ignored.

        class OrderPlaced(DomainEvent, type="shop.order.placed", version=2, key="order_id"):
            order_id: UUID
            total: int
            currency: str = "EUR"

    `type` is the name on the wire. `key` names the field whose value keeps events in order: two events with the same key
    are handled in the order they were recorded.
    """

    __slots__ = ("_envelope",)  # a private attribute of pydantic's would cost as much as all fields together
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    event_type: ClassVar[str] = ""
    event_version: ClassVar[int] = 1
    event_key: ClassVar[str] = ""
    _upcasters: ClassVar[dict[int, Upcaster]] = {}

    def __init_subclass__(cls, *, type: str = "", version: int = 1, key: str = "", **kwargs: Any) -> None:  # noqa: A002
        super().__init_subclass__(**kwargs)
        cls.event_type, cls.event_version, cls.event_key = type, version, key
        cls._upcasters = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Check the declaration once the fields are known."""
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.event_type or len(cls.event_type) > MAX_TEXT or not cls.event_type.isprintable():
            raise TypeError(
                f"{cls.__name__} needs type='...': its name on the wire, {MAX_TEXT} printable characters at most"
            )
        if cls.event_version < 1:
            raise TypeError(f"{cls.__name__}: versions count from 1")
        if cls.event_key not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: key={cls.event_key!r} is not one of its fields")
        taken = sorted({"key", "envelope"} & set(cls.model_fields))
        if taken:
            raise TypeError(f"{cls.__name__}: the name {taken[0]!r} is taken; call the field something else")

    @classmethod
    def upcast(cls, *, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Register the function that turns the data of `from_version` into that of the next version.

        The function gets a copy and returns what the next version would have held; it must give the same answer every time.
        Raises `TypeError` for a version that is not older than this class, and for a second function from one version.
        """
        if not 1 <= from_version < cls.event_version:
            raise TypeError(f"{cls.__name__} has no version {from_version} to come from")

        def register(function: Upcaster) -> Upcaster:
            if from_version in cls._upcasters:
                raise TypeError(f"{cls.__name__} has an upcaster from version {from_version} already")
            if not callable(function):
                raise TypeError(f"{cls.__name__}: an upcaster is a function of the old data")
            cls._upcasters[from_version] = function
            return function

        return register

    @classmethod
    def missing_upcasters(cls, since: int = 1) -> tuple[int, ...]:
        """The versions from `since` on that nothing brings up to date: `from_envelope` refuses their data.

        Empty when the chain is whole. `skerry events check` asks this for every version that is frozen.
        """
        return tuple(version for version in range(since, cls.event_version) if version not in cls._upcasters)

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> Self:
        """Read an event. Older data goes through the upcasters; newer data is read as far as it is known.

        Raises `InvalidEvent`, whose text never holds the data itself.
        """
        data = envelope.data
        for version in range(envelope.version, cls.event_version):
            upcaster = cls._upcasters.get(version)
            if upcaster is None:
                raise InvalidEvent(f"{cls.event_type}: no upcaster from version {version}")
            try:
                data = upcaster(dict(data))
            except Exception as error:  # whatever it stumbles over: it would do so again
                raise InvalidEvent(f"{cls.event_type}: upcasting version {version}: {type(error).__name__}") from error
        try:
            event = cls.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            # what comes deeper, or was not asked for, is a name out of the data
            named = first["loc"] and first["type"] != "extra_forbidden"
            where = first["loc"][0] if named else "data"
            raise InvalidEvent(f"{cls.event_type} version {envelope.version}: {where}: {first['type']}") from None
        object.__setattr__(event, "_envelope", envelope)
        return event

    @property
    def key(self) -> str:
        """The value that keeps events in order."""
        return str(getattr(self, self.event_key))

    @property
    def envelope(self) -> Envelope:
        """What came with a delivered event: id, time, source, trace. Raises `InvalidEvent` on one made here."""
        try:
            return cast("Envelope", object.__getattribute__(self, "_envelope"))
        except AttributeError:
            raise InvalidEvent(f"this {self.event_type} was not delivered, so it has no envelope yet") from None
