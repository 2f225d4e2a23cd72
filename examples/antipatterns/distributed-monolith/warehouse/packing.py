"""How goods are put into boxes: the largest first, into the first box with room."""

from warehouse.models import Item

BOX_LITRES = 40.0


def boxes_for(items: list[Item]) -> int:
    rooms: list[float] = []
    for item in sorted(items, key=lambda each: -each.litres):
        for number, room in enumerate(rooms):
            if room >= item.litres:
                rooms[number] -= item.litres
                break
        else:
            rooms.append(BOX_LITRES - item.litres)
    return len(rooms)
