"""Amounts with their unit: shares with a percent sign, times with s or ms; and a word that can only be true."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import yaml

from skerry.gateway.reading.document import Document, Steps
from skerry.gateway.reading.kinds import Definitions, Kind

_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SHARE: Final = re.compile(rf"({_NUMBER}) ?(%?)")
_TIME: Final = re.compile(rf"({_NUMBER}) ?(ms|s)?")


@dataclass(frozen=True)
class Share(Kind):
    """A share from `low` to `high`, both percent: with a percent sign, or a plain number of `unit`.

    `unit` is 1 where plain numbers are percent, 100 where they are out of 1. It is read as a number of `unit`, too.
    """

    low: float
    high: float
    unit: float = 100.0

    @property
    def range(self) -> str:
        """What it must be, in words."""
        return f"a share from {self.low:g}% to {self.high:g}%"

    def holds(self, value: float) -> bool:
        """Whether a value that was put together in Python is one of these."""
        return self.low <= value * self.unit <= self.high

    def read(self, node: yaml.Node, at: Steps, document: Document) -> float | None:
        match = _SHARE.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        if match is not None:
            # by decimals: 0.2 % is 0.002, and not the nearest that a division of binary fractions gives
            told = Decimal(match[1]) / (Decimal(self.unit) if match[2] else 1)
            if self.holds(float(told)):
                return float(told)
        document.refuse(f"must be {self.range}", at, node)
        return None

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        number = {"type": "number", "minimum": self.low / self.unit, "maximum": self.high / self.unit}
        return {"anyOf": [number, {"type": "string", "pattern": f"^{_NUMBER} ?%$"}]}


@dataclass(frozen=True)
class Seconds(Kind):
    """A time from `low` to `high` seconds: a number of them, or one with s or ms."""

    low: float
    high: float

    @property
    def range(self) -> str:
        """What it must be, in words."""
        return f"a time from {self.low:g} to {self.high:g} seconds, such as 2, 2s or 500ms"

    def holds(self, value: float | None) -> bool:
        """Whether a value that was put together in Python is one of these."""
        return value is not None and self.low <= value <= self.high

    def read(self, node: yaml.Node, at: Steps, document: Document) -> float | None:
        match = _TIME.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        value = math.nan if match is None else float(Decimal(match[1]) / (1000 if match[2] == "ms" else 1))
        if not self.holds(value):
            document.refuse(f"must be {self.range}", at, node)
            return None
        return value

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        number = {"type": "number", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "pattern": f"^{_NUMBER} ?(?:ms|s)$"}]}


@dataclass(frozen=True)
class Yes(Kind):
    """True: what is not wanted is left out."""

    def read(self, node: yaml.Node, at: Steps, document: Document) -> bool:
        if not isinstance(node, yaml.ScalarNode) or node.value != "true":
            document.refuse("can only be true; leave it out otherwise", at, node)
        return True

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {"const": True}
