"""What a sweep searches: keys of params.yaml with what they are drawn from, and conditions on them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stages.params import PATH, ParamsError, nearest
from trialtree.sweep.space import conditions, finding, keys, tree
from trialtree.sweep.space.conditions import Condition, ConditionError
from trialtree.sweep.space.expressions import Raw
from trialtree.sweep.space.finding import MISSING
from trialtree.sweep.space.reading import Reader
from trialtree.sweep.space.tree import Dimension, Group, Linked

__all__ = ["MISSING", "Condition", "Point", "Space", "faults", "read"]

_SECTION = "sweep.space"


def _sorted(value: Any) -> Any:
    """Return a value with the keys of mappings in order, whatever their types."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (type(key).__name__, str(key)))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Point:
    """Values for a trial."""

    values: dict[str, Any]  # by dotted key of params.yaml
    raw: dict[str, Any] = field(default_factory=dict)  # as drawn, before rounding, by place in the space

    @cached_property
    def cell(self) -> str:
        """The values as text: two points with one cell are one trial."""
        return json.dumps(_sorted(self.values), ensure_ascii=False)


@dataclass(frozen=True)
class Space:
    """All that can be drawn."""

    root: Group
    where: tuple[Condition, ...] = ()
    base: Mapping[str, Any] = field(default_factory=dict)  # all of params.yaml

    @cached_property
    def dimensions(self) -> list[Dimension]:
        """Every key that is drawn, those of items too, in the order of the space."""
        return [member for member in tree.every(self.root) if isinstance(member, Dimension)]

    @cached_property
    def keys(self) -> list[str]:
        """Every key that a point may set."""
        members = tree.every(self.root)
        return list(dict.fromkeys(m.key for m in members if not (isinstance(m, Dimension) and m.items)))

    @cached_property
    def size(self) -> int | None:
        """How many cells there are, conditions and equal ones left aside; None where there is no end of them."""
        return self.root.size

    @property
    def conditional(self) -> bool:
        """Whether which keys are drawn depends on what is drawn."""
        return any(dimension.conditional for dimension in self.dimensions)

    def draw(self, choose: Callable[[Dimension], Raw]) -> Point:
        """Return the point for what `choose` draws for each of its keys."""
        values, links, raw = tree.walk(self.root, choose)
        for key in links:
            values[key] = self._linked(key, values, links)
        return Point({key: value for key, value in values.items() if value is not MISSING}, raw)

    def _linked(self, key: str, values: Mapping[str, Any], links: Mapping[str, str]) -> Any:
        """Return the value at the end of a link; MISSING where neither the point nor params.yaml has one."""
        seen: set[str] = set()
        while key in links and key not in seen:
            seen.add(key)
            key = links[key]
        return MISSING if key in seen else keys.seen(self.base, values, key)

    def point(self, raw: Mapping[str, Raw]) -> Point:
        """Return a point of this space again from what was drawn."""
        return self.draw(lambda dimension: raw[dimension.place])

    def again(self, point: Point) -> Point:
        """Return a point that a journal kept: JSON has made texts of the keys of a value that is a mapping."""
        if not point.raw:
            return point
        own = self.point(point.raw)
        return Point({**point.values, **own.values}, own.raw)

    def allows(self, point: Point) -> bool:
        """Say whether a point meets the conditions.

        Raises:
            ParamsError: a condition compares what cannot be compared.
        """
        for number, condition in enumerate(self.where):
            try:
                if not condition.holds(lambda key: keys.seen(self.base, point.values, key)):
                    return False
            except ConditionError as error:
                raise ParamsError(f"{PATH}: sweep.where[{number}]: {condition.text!r} {error}") from None
        return True

    def cells(self) -> Iterator[Point]:
        """Yield a point for each cell of a finite space, conditions left aside; the last key changes first."""
        return map(self.point, tree.cells(self.root))

    def find(self, value_of: finding.ValueOf, choose: finding.Choose | None = None) -> Point | str:
        """Return the point that has these values, or the first key whose value is outside of the space.

        What they leave open is drawn by `choose`; without it, it is outside.
        """
        found = finding.find(self.root, value_of, choose)
        return self.point(found.raw) if found.outside is None else found.outside


def read(space: Mapping[str, Any], where: Sequence[str], base: Mapping[str, Any]) -> Space:
    """Return the space of a sweep section; `base` is all of params.yaml.

    Raises:
        ParamsError: every fault, one line each.
    """
    found, said = _read(space, where, base)
    if said:
        raise ParamsError("\n".join(said))
    return found


def faults(space: Mapping[str, Any], where: Any, base: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a space and its conditions, one line each."""
    texts = where if isinstance(where, list) and all(isinstance(text, str) for text in where) else []
    return _read(space, texts, base)[1]


def _read(space: Mapping[str, Any], where: Sequence[str], base: Mapping[str, Any]) -> tuple[Space, list[str]]:
    reader = Reader(_SECTION)
    found = Space(reader.space(space), base=base)
    said = [*reader.faults, *_links(found)]
    known = [*found.keys, *(key for key in keys.all_keys(base) if key not in found.keys)]
    read: list[Condition] = []
    for number, text in enumerate(where):
        place = f"{PATH}: sweep.where[{number}]"
        try:
            read.append(condition := conditions.read(text))
        except ConditionError as error:
            said.append(f"{place}: {error}, got {text!r}")
            continue
        if not reader.faults:  # else a key may be there, and only its expression at fault
            unknown = [key for key in condition.keys if key not in known]
            said += [
                f"{place}: {key} is neither in the space nor in {PATH}; {nearest(key, found.keys)}" for key in unknown
            ]
    return Space(found.root, tuple(read), base), list(dict.fromkeys(said))


def _links(space: Space) -> Iterator[str]:
    """Yield links that lead nowhere."""
    linked = [member for member in tree.every(space.root) if isinstance(member, Linked)]
    ends = {member.key: member.other for member in linked}
    for member in linked:
        key, seen = member.key, set[str]()
        while key in ends and key not in seen:
            seen.add(key)
            key = ends[key]
        if key in seen:
            yield f"{PATH}: {_SECTION}.{member.place}.linked: leads back to itself, got {member.other!r}"
        elif key not in space.keys and keys.value_at(space.base, key) is MISSING:
            yield (
                f"{PATH}: {_SECTION}.{member.place}.linked: {member.other} is neither in the space nor in {PATH}; "
                f"{nearest(member.other, [k for k in space.keys if k != member.key])}"
            )
