"""What lies on the shelves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    sku: str
    litres: float
