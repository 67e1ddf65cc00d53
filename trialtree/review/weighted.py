"""Metrics of rows that count several times or not at all: what the bootstrap asks thousands of times.

Each is the same figure as in `stages.scores`, of rows written out as often as
they count; tests hold them together. What does not depend on the counts (the
order of marks, the error of a row) is computed once for all resamples, and what
several metrics need (sorted rows, rows by label) once for all metrics.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.scores import Label, Predicted

Array = NDArray[Any]


class Fixed:
    """What does not depend on how often rows count."""

    def __init__(self, rows: Predicted) -> None:
        self.rows = rows

    @cached_property
    def errors(self) -> Array:
        """Absolute errors (rows,)."""
        return np.asarray(np.abs(self.rows.actual - self.rows.predicted))

    @cached_property
    def by_error(self) -> Array:
        """The rows' order by error."""
        return np.argsort(self.errors, kind="stable")

    @cached_property
    def moments(self) -> Array:
        """Squared error, centred actual and its square (rows, 3); sums of squares of far numbers lose their digits."""
        centred = self.rows.actual - self.rows.actual.mean()
        return np.column_stack([self.errors**2, centred, centred**2])

    @cached_property
    def shares(self) -> Array:
        """Absolute errors as shares of the actual number (rows,)."""
        if (self.rows.actual == 0).any():
            raise ValueError("the target is 0 in some rows")
        return self.errors / np.abs(self.rows.actual)

    @cached_property
    def by_label(self) -> list[Any]:
        """Which rows are right, are there and are said, as sparse matrices (labels, rows): labels may be a thousand."""
        from scipy.sparse import csr_array

        labels, codes = np.unique(np.concatenate([self.rows.actual, self.rows.predicted]), return_inverse=True)
        there, said = codes[: len(self.rows.actual)], codes[len(self.rows.actual) :]
        ones, at, shape = np.ones(len(there)), np.arange(len(there)), (len(labels), len(there))
        hit = there == said
        return [
            csr_array((ones[hit], (there[hit], at[hit])), shape=shape),
            csr_array((ones, (there, at)), shape=shape),
            csr_array((ones, (said, at)), shape=shape),
        ]

    @cached_property
    def of_positive(self) -> Array:
        """Whether the positive label is right, there and said (rows, 3)."""
        there, said = self.rows.actual == self.rows.positive, self.rows.predicted == self.rows.positive
        return np.column_stack([there & said, there, said]).astype(np.float64)

    @cached_property
    def losses(self) -> Array:
        """The negative logarithm of the probability of what was there (rows,)."""
        if self.rows.probabilities is None:
            raise ValueError("there are no probabilities")
        places = {label: place for place, label in enumerate(self.rows.labels)}
        at = [places.get(label, -1) for label in self.rows.actual.tolist()]
        if min(at) < 0:
            raise ValueError("a label is not known to the model")
        least = np.finfo(np.float64).eps
        return np.asarray(-np.log(np.clip(self.rows.probabilities[np.arange(len(at)), at], least, 1 - least)))

    @cached_property
    def ranks(self) -> dict[Label, tuple[Array, Array, Array]]:
        """By label: the order of rows by falling mark, the last row of each mark, and which rows are the label."""
        found = {}
        for label in self.rows.curved:
            is_label, marks = self.rows.of(label)
            if marks is None:
                raise ValueError("there are no probabilities")
            order = np.argsort(-marks, kind="stable")
            last = np.append(np.flatnonzero(np.diff(marks[order])), len(marks) - 1)
            found[label] = order, last, is_label[order]
        return found


class Counted:
    """Resamples: how often each row counts (resamples, rows), and sums of what is fixed."""

    def __init__(self, fixed: Fixed, counts: Array) -> None:
        self.fixed, self.counts = fixed, counts

    @cached_property
    def total(self) -> Array:
        """Rows (resamples,)."""
        return np.asarray(self.counts.sum(axis=1))

    def mean(self, values: Array) -> Array:
        """Return the mean (resamples,) of values (rows,)."""
        return np.asarray(self.counts @ values / self.total)

    @cached_property
    def moments(self) -> Array:
        """Sums of the moments (3, resamples)."""
        return np.asarray((self.counts @ self.fixed.moments).T)

    @cached_property
    def by_label(self) -> list[Array]:
        """How many rows of each label were right, there and said (resamples, labels)."""
        return [np.asarray((each @ self.counts.T).T) for each in self.fixed.by_label]

    @cached_property
    def of_positive(self) -> tuple[Array, Array, Array]:
        """The same of the positive label (resamples,)."""
        right, there, said = (self.counts @ self.fixed.of_positive).T
        return right, there, said

    @cached_property
    def by_error(self) -> Array:
        """Rows at or below each error (resamples, rows)."""
        return np.cumsum(self.counts[:, self.fixed.by_error], axis=1)

    @cached_property
    def ranked(self) -> dict[Label, tuple[Array, Array]]:
        """Rows at or above each mark (resamples, marks) that are not the label, and that are."""
        found = {}
        for label, (order, last, of_label) in self.fixed.ranks.items():
            ordered = self.counts[:, order]
            true = np.cumsum(ordered * of_label, axis=1)[:, last]
            found[label] = np.cumsum(ordered, axis=1)[:, last] - true, true
        return found


Metric = Callable[[Counted], Array]  # values (resamples,); NaN where a resample has none


def metric(name: str, rows: Predicted) -> Callable[[Array], Array]:
    """Return a metric of `stages.scores.METRICS` by how often rows count (resamples, rows).

    It raises ValueError where the rows lack the probabilities or labels that it takes.

    Raises:
        KeyError: the rows' task does not have it.
    """
    of, fixed = METRICS[rows.task][name], Fixed(rows)
    return lambda counts: of(Counted(fixed, counts))


def _r2(of: Counted) -> Array:
    left, first, second = of.moments
    spread = second - first**2 / of.total
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-12 * second, 1 - left / spread, np.nan)


def _percentile(percent: int) -> Metric:
    def percentile(of: Counted) -> Array:
        errors = of.fixed.errors[of.fixed.by_error]
        found = np.empty(len(of.counts))
        for place, line in enumerate(of.by_error):
            at = percent / 100 * (line[-1] - 1)
            low, high = np.searchsorted(line, [np.floor(at), np.ceil(at)], side="right")
            found[place] = errors[low] + (at - np.floor(at)) * (errors[high] - errors[low])
        return found

    return percentile


def _accuracy(of: Counted) -> Array:
    right, there, _ = of.by_label
    return np.asarray(right.sum(axis=1) / there.sum(axis=1))


def _balanced_accuracy(of: Counted) -> Array:
    right, there, _ = of.by_label
    return _mean_where(right, there, there > 0)


def _macro(name: str) -> Metric:
    """Return the mean over the labels that a resample has, as actual or as predicted."""

    def macro(of: Counted) -> Array:
        right, there, said = of.by_label
        return _mean_where(*_ratio_of(name, right, there, said), there + said > 0)

    return macro


def _ratio_of(name: str, right: Array, there: Array, said: Array) -> tuple[Array, Array]:
    if name == "f1":
        return 2 * right, there + said
    return right, said if name == "precision" else there


def _mean_where(part: Array, whole: Array, kept: Array) -> Array:
    return np.asarray((_ratio(part, whole) * kept).sum(axis=1) / kept.sum(axis=1))


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0))


def _mcc(of: Counted) -> Array:
    right, there, said = of.by_label
    spread = (of.total**2 - (there**2).sum(axis=1)) * (of.total**2 - (said**2).sum(axis=1))
    agreed = right.sum(axis=1) * of.total - (there * said).sum(axis=1)
    return _ratio(agreed, np.sqrt(np.maximum(spread, 0)))


def _of_positive(name: str) -> Metric:
    return lambda of: _ratio(*_ratio_of(name, *of.of_positive))


def _roc_auc(of: Counted) -> Array:
    areas = []
    for false, true in of.ranked.values():
        steps = np.diff(false, axis=1, prepend=0)
        middle = true - np.diff(true, axis=1, prepend=0) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            areas.append((steps * middle).sum(axis=1) / (false[:, -1] * true[:, -1]))
    return np.asarray(np.mean(areas, axis=0))


def _average_precision(of: Counted) -> Array:
    false, true = of.ranked[of.fixed.rows.curved[0]]
    steps = np.diff(true, axis=1, prepend=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((steps * _ratio(true, true + false)).sum(axis=1) / true[:, -1])


METRICS: dict[str, dict[str, Metric]] = {
    "regression": {
        "rmse": lambda of: np.sqrt(of.moments[0] / of.total),
        "mae": lambda of: of.mean(of.fixed.errors),
        "r2": _r2,
        "mape": lambda of: of.mean(of.fixed.shares),
        "ae_p10": _percentile(10),
        "ae_p50": _percentile(50),
        "ae_p90": _percentile(90),
    },
    "classification": {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "precision_macro": _macro("precision"),
        "recall_macro": _macro("recall"),
        "f1_macro": _macro("f1"),
        "roc_auc": _roc_auc,
        "log_loss": lambda of: of.mean(of.fixed.losses),
        "mcc": _mcc,
        "precision": _of_positive("precision"),
        "recall": _of_positive("recall"),
        "f1": _of_positive("f1"),
        "average_precision": _average_precision,
    },
}
