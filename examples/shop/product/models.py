"""What the catalogue sells, and what it tells the others."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.events import DomainEvent


class ProductPriced(DomainEvent, type="shop.product.priced", version=1, key="sku"):
    """A product is for sale at a price, in minor units of its currency."""

    sku: str
    name: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Product:
    """A line of the catalogue."""

    sku: str
    name: str
    amount: int
    currency: str = "EUR"


CATALOGUE = (
    Product("LAMP-1", "Storm lantern", 3950),
    Product("ROPE-10", "Mooring rope, 10 m", 1890),
    Product("BELL-2", "Brass bell", 5400),
    Product("MAP-7", "Chart of the skerries", 1250),
    Product("MUG-3", "Enamel mug", 990),
    Product("COAT-5", "Oilskin coat", 12900),
    Product("KNIFE-4", "Rigging knife", 4400),
    Product("LIMITED-1", "Lighthouse print, signed, sold out", 25000),
)
