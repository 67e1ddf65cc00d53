"""`start_from`: points to try first, and what earlier trials gave.

    start_from:
    - {train.hyperparameters.C: 1.0}   # a point; keys of the space that it leaves out are drawn
    - sweep:iris-k3f9                  # the trials of a sweep: told to a sampler that learns, and not tried again
    - history                          # the trials of Git: told to a sampler that learns

An earlier trial counts when it is the space's own: nothing but keys of the
space tells its params.yaml, from fetch to evaluate, from the one that stands
here, and it has the objective's metrics.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stages.errors import UserError
from stages.params import PATH, ParamsError, nearest, shown
from trialtree.sweep import ranking
from trialtree.sweep.samplers import streams
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.section import MODELLED, SweepParams
from trialtree.sweep.space import Space, keys

_HISTORY, _SWEEP = "history", "sweep:"
STAGES = ("fetch", "split", "train", "evaluate")

Earlier = tuple[Mapping[str, Any], Mapping[str, float]]  # a trial's params.yaml, and its metrics by dotted name


@dataclass(frozen=True)
class Start:
    """What a sweep starts from."""

    points: tuple[Point, ...] = ()  # to try first
    known: tuple[tuple[Point, tuple[float, ...]], ...] = ()  # what earlier trials gave, by objective
    tried: frozenset[str] = frozenset()  # cells not to be tried again
    notes: tuple[str, ...] = ()  # for a person

    def __add__(self, other: "Start") -> "Start":
        return Start(
            self.points + other.points, self.known + other.known, self.tried | other.tried, self.notes + other.notes
        )


def read(section: SweepParams, space: Space, until: int | None = None, *, git: bool = True) -> Start:
    """Return what a sweep starts from; earlier trials are those before `until`, in milliseconds since 1970.

    Without `git` nothing is read of the trials that Git holds.

    Raises:
        ParamsError: a point is outside of the space, or there is no such sweep; every fault, one line each.
    """
    start, faults = Start(), list[str]()
    for number, of in enumerate(section.starts):
        place = f"start_from[{number}]" if isinstance(section.start_from, list) else "start_from"
        try:
            _refuse_history(of, place, section)
            if git or of != _HISTORY:
                start += _one(of, place, section, space, until)
        except UserError as error:
            faults += str(error).splitlines()
    if faults:
        raise ParamsError("\n".join(faults))
    points = {point.cell: point for point in start.points}
    return replace(start, points=tuple(points.values()))


def faults(section: SweepParams, space: Space) -> list[str]:
    """Return what is wrong with start_from, without a look at the trials of Git, one line each."""
    try:
        read(section, space, git=False)
    except ParamsError as error:
        return str(error).splitlines()
    return []


def _one(of: str | dict[str, Any], place: str, section: SweepParams, space: Space, until: int | None) -> Start:
    """Return what one entry of start_from gives."""
    if isinstance(of, Mapping):
        return Start(points=(_given(of, place, section.seed, space),))
    if of == _HISTORY:
        known, count = _of(_history(until), section, space)
        return Start(known=tuple(known), notes=(_said(of, len(known), count),))
    if of.startswith(_SWEEP):
        known, count = _of(_sweep(of.removeprefix(_SWEEP), place, until), section, space)
        return Start(
            known=tuple(known),
            tried=frozenset(point.cell for point, _ in known),
            notes=(_said(of, len(known), count),),
        )
    raise _fault(place, f"must be a point, sweep:ID or history, got {shown(of)}")


def _refuse_history(of: str | dict[str, Any], place: str, section: SweepParams) -> None:
    """Refuse trials of Git for a sampler that learns nothing of them."""
    if of == _HISTORY and section.sampler.sampler not in MODELLED:
        learn = ", ".join(MODELLED)
        raise _fault(place, f"history is for samplers that learn: {learn}; got {section.sampler.sampler}")


def _fault(place: str, rule: str) -> ParamsError:
    return ParamsError(f"{PATH}: sweep.{place}: {rule}")


def _said(of: str, known: int, count: int) -> str:
    others = count - known
    more = f"; {others} differ in more than the space, or lack the objective" if others else ""
    return f"start_from: {of}: {known} of {count} trials count{more}"


def _given(of: Mapping[str, Any], place: str, seed: int, space: Space) -> Point:
    """Return a point that a person gives.

    Raises:
        ParamsError: it is not in the space.
    """
    found = space.find(
        lambda key: keys.seen({}, of, key),
        lambda dimension: dimension.expression.draw(streams.uniform(seed, place, dimension.place)),
    )
    if isinstance(found, str):
        raise _fault(f"{place}.{found}", f"is outside of the space, got {shown(keys.seen({}, of, found))}")
    others = {key: value for key, value in _flat(of) if not any(keys.is_below(key, own) for own in found.values)}
    for key in others:
        if key in space.keys:
            raise _fault(f"{place}.{key}", "does not go with the rest of the point: another item of the space has it")
        if key.partition(".")[0] not in STAGES:
            raise _fault(f"{place}.{key}", f"must be a key of {', '.join(STAGES)}; {nearest(key, space.keys)}")
    if not space.allows(found):
        raise _fault(place, f"does not meet sweep.where, got {shown(dict(of))}")
    # What is not in the space has no place there: such a trial is run, and nothing is learned from it.
    return Point({**found.values, **others}, {}) if others else found


def _flat(of: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a point with their values."""
    for name, value in of.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _of(
    trials: Iterable[Earlier], section: SweepParams, space: Space
) -> tuple[list[tuple[Point, tuple[float, ...]]], int]:
    """Return the points and objectives of the trials that count, and how many trials there are."""
    names = [objective.metric for objective in section.objectives]
    known, count = [], 0
    for content, metrics in trials:
        count += 1
        values = tuple(metrics.get(name, math.nan) for name in names)
        point = _point(content, space) if all(map(math.isfinite, values)) else None
        if point is not None:
            known.append((point, values))
    return known, count


def _point(content: Mapping[str, Any], space: Space) -> Point | None:
    """Return the point of a trial; None where it is none of this space, or differs in more."""
    found = space.find(lambda key: keys.value_at(content, key))
    if isinstance(found, str):
        return None
    here = keys.applied(space.base, found.values)
    return found if all(here.get(stage) == content.get(stage) for stage in STAGES) else None


def _sweep(name: str, place: str, until: int | None) -> Iterator[Earlier]:
    """Yield the trials that a sweep has done."""
    from trialtree.sweep import journal

    try:
        sweep = journal.read(journal.find(name))
    except journal.SweepError as error:
        raise _fault(place, str(error)) from None
    for trial in sweep.of("done"):
        if until is None or (trial.began or 0) < until:
            yield keys.applied(sweep.head.params, trial.values), trial.metrics


def _history(until: int | None) -> Iterator[Earlier]:
    """Yield the trials that Git holds, each once."""
    from trialtree.tracking import git, locks, survey

    seen = set()
    with git.objects() as objects:
        for place in survey.read("main").places:
            if place.key in seen or (until is not None and place.seconds >= until // 1000):
                continue
            seen.add(place.key)
            metrics: dict[str, float] = {}
            try:
                content = locks.load(objects.read(f"{place.commit}:./{PATH}") or b"")
                for file in ranking.FILES:
                    metrics |= ranking.flat(json.loads(objects.read(f"{place.commit}:./{file}") or b"{}"))
            except (UserError, ValueError, AttributeError):
                continue  # a commit that somebody made by hand
            if isinstance(content, Mapping):
                yield content, metrics
