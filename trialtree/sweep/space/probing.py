"""Look at a space before anything runs: each literal and the ends of each range, held against stages and estimators.

One key at a time leaves its first value, so that the points to look at are as
many as there are values, and not as there are cells.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import islice
from random import Random
from typing import Any

from stages import params
from stages.errors import UserError
from stages.params import PATH, nearest
from trialtree.sweep.space import Point, Space, keys, tree
from trialtree.sweep.space.expressions import Expression, Raw
from trialtree.sweep.space.tree import Dimension, Group

STAGES = ("fetch", "split", "train", "evaluate")
_MOST = 3000  # points that are looked at
_TRIED = 2000  # points that conditions are tried on
_LIKELY = (0.5, 0.001, 0.999)  # u of a distribution without ends
_LINE = re.compile(rf"{re.escape(str(PATH))}: ([\w.\[\]]+)(.*)")
_ITEM = re.compile(r"\.choice\[\d+\]$")


def points(space: Space) -> list[Point]:
    """Return points that have, together, every literal and the ends and the middle of every range."""
    found = (space.point(raw) for raw in islice(_of_group(space.root), _MOST))
    return [point for point in found if space.allows(point)]


def _of_group(group: Group) -> Iterator[dict[str, Raw]]:
    """Yield what is drawn for a group: the first of each key, then each other of one key."""
    variants = [list(_of(dimension)) for dimension in group.dimensions]
    first = {place: raw for of in variants for place, raw in of[0].items()}
    yield first
    for of in variants:
        yield from ({**first, **other} for other in of[1:])


def _of(dimension: Dimension) -> Iterator[dict[str, Raw]]:
    """Yield what is drawn for a key, and for those that its items bring."""
    if not dimension.items:
        yield from ({dimension.place: raw} for raw in dict.fromkeys(_raws(dimension.expression)))
    for number, item in enumerate(dimension.items):
        yield from ({dimension.place: number, **below} for below in _of_group(item))


def _raws(of: Expression) -> Iterator[Raw]:
    """Yield what is drawn in the middle and at both ends."""
    if of.size is not None:
        yield from (of.at(of.size // 2), of.at(0), of.at(of.size - 1))
    elif (ends := getattr(of, "bounds", None)) is not None:
        yield from (of.draw(0.5), *ends)
    else:
        yield from map(of.draw, _LIKELY)


def empty(space: Space) -> list[str]:
    """Return a line where conditions leave nothing of the space, as far as was tried.

    Raises:
        ParamsError: a condition compares what cannot be compared.
    """
    if not space.where:
        return []
    few = space.size is not None and space.size <= _TRIED
    tried = space.cells() if few else (space.draw(_drawing(number)) for number in range(_TRIED))
    count = 0
    for point in tried:
        if space.allows(point):
            return []
        count += 1
    which = f"its {count} points" if few else f"{count} points that were tried"
    return [f"{PATH}: sweep.where: leaves nothing of the space: none of {which} meets it"]


def _drawing(number: int) -> Callable[[Dimension], Raw]:
    """Return what draws the keys of one of the points that are tried."""
    source = Random(number)  # noqa: S311  # no secret depends on it
    return lambda of: of.expression.draw(source.random() or 0.5)


def unknown_keys(space: Space) -> Iterator[str]:
    """Yield keys that no stage of a trial reads."""
    for member in tree.every(space.root):
        stage = member.key.partition(".")[0]
        if stage not in STAGES and not (isinstance(member, Dimension) and member.items):
            said = f"{_ITEM.sub('', member.place)}: must be a key of {', '.join(STAGES)}"
            why = f"; {nearest(stage, STAGES)}" if stage not in params.SECTIONS else ", which a trial runs"
            yield f"{PATH}: sweep.space.{said}{why}"


def faults(space: Space, found: list[Point]) -> Iterator[str]:
    """Yield what stages and estimators refuse of some points, a line for each place in the space."""
    own = {line for _, line in _refused(space.base, STAGES)}
    told = set()
    for point in found:
        stages = sorted({key.partition(".")[0] for key in point.values} & set(STAGES))
        places = _places(space.root, point.raw)
        for key, line in _refused(keys.applied(space.base, point.values), stages):
            if line not in own:
                place, said = _placed(key, line, places)
                if place not in told:
                    told.add(place)
                    yield said


def _refused(content: Mapping[str, Any], stages: tuple[str, ...] | list[str]) -> Iterator[tuple[str, str]]:
    """Yield the key and the line of each fault of some sections."""
    for stage in stages:
        try:
            _check(stage, content.get(stage))
        except UserError as error:
            lines = map(_LINE.fullmatch, str(error).splitlines())
            yield from ((line[1], line[0]) for line in lines if line)


def _check(stage: str, section: Any) -> None:
    """Refuse a section that its stage cannot read, and hyperparameters that the estimator does not take."""
    from stages import estimators

    read = params.parse(stage, section, getattr(import_module(f"stages.{stage}"), f"{stage.capitalize()}Params"))
    if stage == "train" and read.script is None:
        estimators.check(read.estimator, estimators.find(read.estimator), read.hyperparameters)


def _places(group: Group, raw: Mapping[str, Raw]) -> dict[str, str]:
    """Return where each key of a point stands in the space."""
    found: dict[str, str] = {}
    for member in group.members:
        if isinstance(member, Dimension) and member.items:
            found |= _places(member.items[int(raw[member.place])], raw)
        else:
            found[member.key] = member.place
    return found


def _placed(key: str, line: str, places: Mapping[str, str]) -> tuple[str, str]:
    """Return where in the space a fault is, and its line with that for the key."""
    near = [own for own in places if keys.is_below(key.partition("[")[0], own)]
    rest = line.removeprefix(f"{PATH}: {key}")
    if not near:
        return key, f"{PATH}: sweep.space: leads to {key}{rest}"
    own = max(near, key=len)
    place = places[own]
    if rest.startswith(" "):  # the key itself is at fault, whatever its value
        place = _ITEM.sub("", place)
    place += key.removeprefix(own)
    return place, f"{PATH}: sweep.space.{place}{rest}"
