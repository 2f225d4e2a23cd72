"""The headers of a request or a reply, whatever carried them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Pairs = Iterable[tuple[str, str]]
Given = Mapping[str, str] | Pairs


class Headers(Mapping[str, str]):
    """An immutable mapping of names, which ignore case, to values. A name may have several (RFC 9110, section 5.2).

    `headers["vary"]` joins them with commas; `get_list` and `multi_items` show each. Names are kept in lower case. Its `repr`
    shows names only, so that no credential gets into a log by accident.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Given = ()) -> None:
        pairs: Pairs = items.items() if not isinstance(items, list) and isinstance(items, Mapping) else items
        self._items = tuple([(name.lower(), value) for name, value in pairs])

    @classmethod
    def decoded(cls, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Headers as they came over a network."""
        headers = cls.__new__(cls)
        headers._items = tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw])
        return headers

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([name for name, _ in self._items]))

    def __len__(self) -> int:
        return len({name for name, _ in self._items})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_list(name))

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"

    def get_list(self, name: str) -> list[str]:
        """Every value of that name, in order; empty when there is none."""
        lower = name.lower()
        return [value for each, value in self._items if each == lower]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every name with every value, in order."""
        return list(self._items)

    def without(self, *names: str) -> Headers:
        """The same headers but for these, which are given in lower case."""
        return Headers([pair for pair in self._items if pair[0] not in names])
