"""Where in a space a point lies that is given by its values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trialtree.sweep.space.choices import same
from trialtree.sweep.space.expressions import Raw
from trialtree.sweep.space.tree import Dimension, Fixed, Group

MISSING = object()  # of a key that the point does not have

ValueOf = Callable[[str], Any]  # of a key; MISSING
Choose = Callable[[Dimension], Raw]


@dataclass(frozen=True)
class Found:
    """What would be drawn for a point."""

    raw: Mapping[str, Raw] = field(default_factory=dict)  # by place
    outside: str | None = None  # the first key whose value the space does not have
    agreeing: int = 0  # values that the space has too, twice where their types are the same

    def __add__(self, other: "Found") -> "Found":
        return Found({**self.raw, **other.raw}, self.outside or other.outside, self.agreeing + other.agreeing)


def find(group: Group, value_of: ValueOf, choose: Choose | None) -> Found:
    """Return what would be drawn for a point; `choose` draws what it does not say, else it must say all."""
    found = Found()
    for member in group.members:
        if isinstance(member, Dimension):
            found += _item(member, value_of, choose) if member.items else _number(member, value_of, choose)
        elif isinstance(member, Fixed):
            found += _fixed(member, value_of(member.key), choose)
    return found


def _fixed(of: Fixed, value: Any, choose: Choose | None) -> Found:
    if value is MISSING:
        return Found(outside=None if choose else of.key)
    if not same(of.value, value):
        return Found(outside=of.key)
    return Found(agreeing=1 + (type(of.value) is type(value)))


def _number(of: Dimension, value_of: ValueOf, choose: Choose | None) -> Found:
    value = value_of(of.key)
    if value is MISSING:
        return Found({of.place: choose(of)}) if choose else Found(outside=of.key)
    raw = of.expression.find(value)
    return Found(outside=of.key) if raw is None else Found({of.place: raw}, agreeing=1)


def _item(of: Dimension, value_of: ValueOf, choose: Choose | None) -> Found:
    """Return the item that agrees most with a point; where it says nothing of any, one that is drawn."""
    items = [find(item, value_of, choose) for item in of.items]
    inside = [place for place, item in enumerate(items) if item.outside is None]
    if not inside:
        return max(items, key=lambda item: item.agreeing)
    best = max(inside, key=lambda place: items[place].agreeing)
    if choose and not items[best].agreeing:
        best = int(choose(of))
    return Found({of.place: best}) + items[best]
