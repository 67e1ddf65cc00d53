"""How often which label was there and was predicted, and the metrics that need nothing else.

Counted once for all of them, because scikit-learn counts anew for each metric
and a sweep scores thousands of folds; tests hold the figures to scikit-learn's.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Counts:
    """Rows of each label (labels,); not the matrix, which a thousand labels would make a million of."""

    right: Array  # predicted as what they are
    there: Array  # that are it
    said: Array  # predicted as it

    @classmethod
    def of(cls, actual: Array, predicted: Array) -> Self:
        """Count rows (rows,) over the labels that were there or predicted, in order."""
        labels, there, said = _coded(actual, predicted)
        right, there, said = (np.bincount(c, minlength=len(labels)) for c in (there[there == said], there, said))
        return cls(right, there, said)

    def accuracy(self) -> float:
        """Share of rows whose label was predicted."""
        return float(self.right.sum() / self.there.sum())

    def balanced_accuracy(self) -> float:
        """Mean recall of the labels that were there."""
        return float((self.right[self.there > 0] / self.there[self.there > 0]).mean())

    def mcc(self) -> float:
        """Matthews correlation of actual and predicted (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006)."""
        there, said, total = self.there.astype(np.float64), self.said.astype(np.float64), float(self.there.sum())
        spread = (total**2 - there @ there) * (total**2 - said @ said)
        return float((self.right.sum() * total - there @ said) / np.sqrt(spread)) if spread else 0.0

    def by_label(self, metric: str) -> Array:
        """Return precision, recall or f1 (labels,); 0 where a label was never predicted or never there."""
        if metric == "f1":
            return _ratio(2 * self.right, self.there + self.said)
        return _ratio(self.right, self.said if metric == "precision" else self.there)


def cells(actual: Array, predicted: Array) -> list[tuple[Any, Any, int]]:
    """Return the cells of the confusion matrix that are not 0, in order: label there, label predicted, rows."""
    labels, there, said = _coded(actual, predicted)
    pairs, rows = np.unique(there * len(labels) + said, return_counts=True)
    names = labels.tolist()
    return [
        (names[p // len(names)], names[p % len(names)], n) for p, n in zip(pairs.tolist(), rows.tolist(), strict=True)
    ]


def _coded(actual: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """Return the labels that were there or predicted, in order, and for each row the places of its two."""
    labels, codes = np.unique(np.concatenate([actual, predicted]), return_inverse=True)
    return labels, codes[: len(actual)], codes[len(actual) :]


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)
