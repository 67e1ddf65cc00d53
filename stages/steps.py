"""A preprocessing's steps one after the other: what a ColumnTransformer does, for a model that is not stored.

The bookkeeping of a ColumnTransformer and its pipelines takes five times as
long as a step on the rows of a fold. The steps are scikit-learn's own, given the
same arrays in the same memory order; tests hold the result to the
ColumnTransformer's, bit for bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.matrices import Matrix

Part = tuple[str, Any, Sequence[int]]  # name, pipeline or "passthrough", places in the matrix


class Steps:
    """Steps by groups of columns, as a ColumnTransformer has them."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.transformers_ = [(name, steps, list(places)) for name, steps, places in parts]
        self._waiting: dict[str, Matrix] = {}  # what a filling step of a name was to be fitted on

    def fit_transform(self, values: Matrix, target: "np.ndarray[Any, Any]") -> Matrix:
        """Fit the steps, and return the matrix (rows, outputs)."""
        found = []
        for part, steps, places in self.transformers_:
            some = values[:, places]
            for name, step in _named(steps):
                if _has_nothing_to_do(step, some):
                    self._waiting[f"{part}.{name}"] = some
                else:
                    some = step.fit_transform(some, target)
            found.append(some)
        return np.hstack(found)

    def transform(self, values: Matrix) -> Matrix:
        """Return the matrix (rows, outputs) of other rows."""
        found = []
        for part, steps, places in self.transformers_:
            some = values[:, places]
            for name, step in _named(steps):
                some = self._transformed(f"{part}.{name}", step, some)
            found.append(some)
        return np.hstack(found)

    def _transformed(self, name: str, step: Any, some: Matrix) -> Matrix:
        """Put rows through a step, which is fitted when it has gaps to fill for the first time."""
        if _has_nothing_to_do(step, some):
            return some
        if name in self._waiting:
            step.fit(self._waiting.pop(name))
        result: Matrix = step.transform(some)
        return result


def _named(steps: Any) -> Sequence[tuple[str, Any]]:
    """Return a group's steps with their names."""
    named: Sequence[tuple[str, Any]] = () if steps == "passthrough" else steps.steps
    return named


def _has_nothing_to_do(step: Any, some: Matrix) -> bool:
    """Whether a step fills gaps, and there is none; what it refuses is left to it."""
    from sklearn.impute import SimpleImputer

    return type(step) is SimpleImputer and len(some) > 0 and bool(np.isfinite(some).all())
