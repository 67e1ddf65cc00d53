"""The space as a tree: keys with what they are drawn from, and below each item of a choice the keys that it brings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.expressions import Expression, Raw


@dataclass(frozen=True)
class Fixed:
    """A key with a value that does not change."""

    key: str
    place: str  # where it stands below sweep.space
    value: Any


@dataclass(frozen=True)
class Linked:
    """A key that takes another's value."""

    key: str
    place: str
    other: str


@dataclass(frozen=True)
class Dimension:
    """A key that is drawn."""

    key: str
    place: str  # where it stands below sweep.space: its name, for a key may stand in several items
    expression: Expression
    items: "tuple[Group, ...]" = ()  # what each item of a choice sets; none for numbers

    @property
    def size(self) -> int | None:
        """How many cells it has, with those below it; None where there is no end of them."""
        return _sum([group.size for group in self.items]) if self.items else self.expression.size

    @property
    def conditional(self) -> bool:
        """Whether which keys are drawn depends on it."""
        return any(group.dimensions for group in self.items)

    @property
    def ordered(self) -> bool:
        """Whether neighbouring values are alike."""
        return not isinstance(self.expression, Choice) or self.expression.ordered


@dataclass(frozen=True)
class Group:
    """Keys that are set together."""

    members: tuple[Fixed | Linked | Dimension, ...] = ()

    @property
    def dimensions(self) -> list[Dimension]:
        """The keys that are drawn whenever the group is set."""
        return [member for member in self.members if isinstance(member, Dimension)]

    @property
    def size(self) -> int | None:
        """How many cells it has; None where there is no end of them."""
        sizes = [dimension.size for dimension in self.dimensions]
        return None if None in sizes else prod(size for size in sizes if size is not None)


def keys_at_most(group: Group) -> int:
    """Return how many keys are drawn for a point, at most."""
    return sum(1 + max(map(keys_at_most, of.items), default=0) for of in group.dimensions if of.expression.size != 1)


def _sum(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size for size in sizes if size is not None)


def walk(group: Group, choose: Callable[[Dimension], Raw]) -> tuple[dict[str, Any], dict[str, str], dict[str, Raw]]:
    """Return the values of a group's keys, the links among them, and what was drawn, asking for each key drawn."""
    values: dict[str, Any] = {}
    links: dict[str, str] = {}
    raw: dict[str, Raw] = {}

    def step(group: Group) -> None:
        for member in group.members:
            if isinstance(member, Fixed):
                values[member.key] = member.value
            elif isinstance(member, Linked):
                values[member.key] = None  # keeps its place among the keys until all are known
                links[member.key] = member.other
            else:
                raw[member.place] = drawn = choose(member)
                if member.items:
                    step(member.items[int(drawn)])
                else:
                    values[member.key] = member.expression.value(drawn)

    step(group)
    return values, links, raw


def cells(group: Group) -> Iterator[dict[str, Raw]]:
    """Yield what is drawn in each cell of a finite group; the last key changes first."""
    yield from _product(group.dimensions)


def _product(dimensions: list[Dimension]) -> Iterator[dict[str, Raw]]:
    if not dimensions:
        yield {}
        return
    first, *others = dimensions
    for place in range(first.expression.size or 0):
        raw = first.expression.at(place)
        for below in _product(first.items[place].dimensions) if first.items else ({},):
            for beside in _product(others):
                yield {first.place: raw, **below, **beside}


def every(group: Group) -> Iterator[Fixed | Linked | Dimension]:
    """Yield every member of a group, with those of all items below it."""
    for member in group.members:
        yield member
        if isinstance(member, Dimension):
            for below in member.items:
                yield from every(below)


def groups(group: Group) -> Iterator[list[Dimension]]:
    """Yield the keys that are drawn together: those of a group, then those of each item below it."""
    yield group.dimensions
    for dimension in group.dimensions:
        for below in dimension.items:
            yield from groups(below)
