"""The paired bootstrap: how far the difference of two models' metrics could have come out otherwise on other rows.

Rows are drawn anew, the same ones for both models, and the difference is
computed each time; the interval holds the middle 95 % (Efron 1979,
doi:10.1214/aos/1176344552). Of more than 20,000 rows some subsets of so many
are drawn from instead, each to the full number of rows, and their intervals
are averaged: the bag of little bootstraps (Kleiner et al. 2014,
doi:10.1111/rssb.12050). The draws are seeded: the same rows give the same
intervals.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.scores import Predicted
from trialtree.review.weighted import METRICS, Counted, Fixed, Metric

Array = NDArray[Any]

LEVEL = 0.95
_DRAWS = 2000  # resamples
_MOST = 20_000  # rows that are drawn from at a time
_SUBSETS = 5
_OF_SUBSET = 200  # resamples of each
_AT_ONCE = 2_000_000  # counts held


@dataclass(frozen=True)
class Interval:
    """A difference between two models on the same rows, head's metric less base's."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side."""
        return self.low > 0 or self.high < 0


def difference(name: str, base: Predicted, head: Predicted) -> Interval | None:
    """Return by how much a metric differs, with its 95 % interval; None where the rows do not give it for both."""
    return differences([name], base, head).get(name)


def differences(names: Iterable[str], base: Predicted, head: Predicted) -> dict[str, Interval]:
    """Return by how much metrics differ, with their 95 % intervals; without those that the rows do not give for both.

    `base` and `head` are of the same rows in their order.
    """
    exact = {name: values[0] for name, values in _values(names, base, head, iter([_ones(len(base.actual))])).items()}
    wanted = [name for name, value in exact.items() if np.isfinite(value)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in wanted}
    for number, rows in enumerate(_subsets(len(base.actual))):
        random = np.random.default_rng([number, len(base.actual)])
        some = (base, head) if rows is None else (taken(base, rows), taken(head, rows))
        for name, ends in _deviations(wanted, *some, len(base.actual), random).items():
            found[name].append(ends)
    return {
        name: Interval(float(exact[name]), *(float(exact[name] + end) for end in np.mean(ends, axis=0)))
        for name, ends in found.items()
        if ends
    }


def taken(rows: Predicted, places: Array) -> Predicted:
    """Return some of the rows."""
    return replace(
        rows,
        actual=rows.actual[places],
        predicted=rows.predicted[places],
        probabilities=None if rows.probabilities is None else rows.probabilities[places],
        decision=None if rows.decision is None else rows.decision[places],
    )


def _ones(rows: int) -> Array:
    return np.ones((1, rows))


def _subsets(rows: int) -> Iterator[Array | None]:
    """Yield the rows to draw from; None for all."""
    if rows <= _MOST:
        yield None
        return
    for number in range(_SUBSETS):
        yield np.sort(np.random.default_rng([rows, number]).choice(rows, _MOST, replace=False))


def _deviations(
    names: Iterable[str], base: Predicted, head: Predicted, counted: int, random: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Return how far below and above the difference on some rows the middle 95 % of its resamples reach."""
    middle = _values(names, base, head, iter([_ones(len(base.actual))]))
    draws = _DRAWS if counted == len(base.actual) else _OF_SUBSET
    drawn = _values(middle, base, head, _counts(len(base.actual), counted, draws, random))
    found = {}
    for name, values in drawn.items():
        finite = values[np.isfinite(values)]
        if len(finite) >= draws / 2 and np.isfinite(middle[name][0]):
            low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - middle[name][0]
            found[name] = (float(low), float(high))
    return found


def _values(names: Iterable[str], base: Predicted, head: Predicted, resamples: Iterator[Array]) -> dict[str, Array]:
    """Return the difference of each metric (resamples,); without those that the rows do not give for both."""
    if base.task != head.task:
        return {}
    of: Mapping[str, Metric] = METRICS[head.task]
    fixed = Fixed(base), Fixed(head)
    found: dict[str, list[Array]] = {name: [] for name in names if name in of}
    for counts in resamples:
        before, after = (Counted(side, counts) for side in fixed)
        for name in list(found):
            try:
                found[name].append(of[name](after) - of[name](before))
            except ValueError:
                del found[name]
    return {name: np.concatenate(values) for name, values in found.items()}


def _counts(rows: int, counted: int, draws: int, random: np.random.Generator) -> Iterator[Array]:
    """Yield how often each row counts (resamples, rows), a few resamples at a time."""
    at_once = max(1, _AT_ONCE // rows)
    for start in range(0, draws, at_once):
        made = np.empty((min(at_once, draws - start), rows))
        for line in made:
            if counted == rows:
                line[:] = np.bincount(random.integers(rows, size=rows), minlength=rows)
            else:
                # A row's share of many draws is Poisson's, to within less than the interval is rounded.
                line[:] = random.poisson(counted / rows, size=rows)
        yield made
