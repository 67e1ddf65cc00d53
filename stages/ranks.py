"""How marks rank the rows of a label: the curves over all thresholds, and the areas under them.

scikit-learn's own arithmetic on rows counted once for all of them, and without
its checks, which take fifty times as long as the arithmetic on the rows of a
fold; tests hold every figure to scikit-learn's, bit for bit.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Curve = tuple[Array, Array]  # x and y


@dataclass(frozen=True)
class Ranks:
    """Rows at or above each threshold (thresholds,), from the highest threshold down; no threshold is met twice."""

    false: Array  # that are not the label
    true: Array  # that are

    @classmethod
    def of(cls, is_label: Array, marks: Array) -> Self:
        """Count rows (rows,) by marks (rows,) that are finite."""
        order = np.argsort(-marks, kind="stable")
        marks = marks[order]
        last = np.append(np.flatnonzero(np.diff(marks)), len(marks) - 1)
        true = np.cumsum(is_label[order], dtype=np.float64)[last]
        return cls(1 + last.astype(np.float64) - true, true)

    @property
    def others(self) -> int:
        """How many rows are not the label."""
        return int(self.false[-1])

    def roc(self) -> Curve:
        """Return the false and the true positive rate, without points between two others; there are rows of both."""
        false, true = self.false, self.true
        if len(false) > 2:
            corners = np.flatnonzero(_inner(np.logical_or(np.diff(false, 2), np.diff(true, 2))))
            false, true = false[corners], true[corners]
        return _from_zero(false) / false[-1], _from_zero(true) / true[-1]

    def roc_auc(self) -> float:
        """Return the area under the ROC curve."""
        false, true = self.roc()
        return float(np.trapezoid(true, false))

    def precision_recall(self, thinned: bool = False) -> Curve:
        """Return recall, falling to 0, and precision; `thinned` without points between two of the same recall.

        There are rows of the label.
        """
        false, true = self.false, self.true
        if thinned and len(false) > 2:
            ends = np.flatnonzero(_inner(np.logical_or(np.diff(true[:-1]), np.diff(true[1:]))))
            false, true = false[ends], true[ends]
        precision, recall = true / (true + false), true / true[-1]
        return np.append(np.flip(recall), 0.0), np.append(np.flip(precision), 1.0)

    def average_precision(self) -> float:
        """Return the mean precision, weighted by the recall that is gained."""
        recall, precision = self.precision_recall()
        return float(max(0.0, -np.sum(np.diff(recall) * precision[:-1])))


def calibration(is_label: Array, probabilities: Array, bins: int) -> Curve:
    """Return the mean probability and the share of rows that are the label, in bins of equal width that have rows."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.searchsorted(edges[1:-1], probabilities)
    sums, of_label = (np.bincount(places, weights=w, minlength=bins) for w in (probabilities, is_label))
    rows = np.bincount(places, minlength=bins)
    kept = rows != 0
    return sums[kept] / rows[kept], of_label[kept] / rows[kept]


def _inner(kept: Array) -> Array:
    """Return a mask with the first and the last point."""
    return np.concatenate([[True], kept, [True]])


def _from_zero(counts: Array) -> Array:
    return np.concatenate([[0.0], counts])
