"""What the catalogue sells, and what it tells the others."""

from __future__ import annotations

from pydantic import BaseModel

from skerry.events import DomainEvent


class ProductPriced(DomainEvent, type="shop.product.priced", version=1, key="sku"):
    """A product is for sale at a price, in minor units of its currency."""

    sku: str
    name: str
    amount: int
    currency: str


class Price(BaseModel):
    """In minor units of the currency."""

    amount: int
    currency: str = "EUR"


class Product(BaseModel):
    """A document of the catalogue. Every kind of product has attributes of its own."""

    sku: str
    name: str
    price: Price
    category: str
    attributes: dict[str, str | int | float | bool | list[str]] = {}


def _product(sku: str, name: str, amount: int, category: str, **attributes: str | float | bool | list[str]) -> Product:
    return Product(sku=sku, name=name, price=Price(amount=amount), category=category, attributes=attributes)


CATALOGUE = (
    _product("LAMP-1", "Storm lantern", 3950, "light", fuel="paraffin", burns_hours=20, colours=["red", "zinc"]),
    _product("ROPE-10", "Mooring rope, 10 m", 1890, "deck", length_m=10.0, diameter_mm=12, floats=True),
    _product("BELL-2", "Brass bell", 5400, "deck", diameter_mm=180, engraved=False),
    _product("MAP-7", "Chart of the skerries", 1250, "paper", scale=50000, waterproof=True, edition=2026),
    _product("MUG-3", "Enamel mug", 990, "galley", volume_ml=350, colours=["blue", "white"]),
    _product("COAT-5", "Oilskin coat", 12900, "clothing", sizes=["S", "M", "L", "XL"], waterproof=True),
    _product("KNIFE-4", "Rigging knife", 4400, "deck", blade_mm=75, marlinspike=True),
    _product("LIMITED-1", "Lighthouse print, signed, sold out", 25000, "paper", of=50, signed=True),
)
