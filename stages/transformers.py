"""Transformers that scikit-learn lacks. Imported only by a model that uses one: it subclasses scikit-learn's."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

Matrix = NDArray[np.float64]

_PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24}


class Clip(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Cut values outside two quantiles of the training rows; gaps (NaN) stay."""

    def __init__(self, lower: float = 0.01, upper: float = 0.99) -> None:
        self.lower = lower
        self.upper = upper

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn's signature
        """Take the bounds (2, columns) from X (rows, columns)."""
        self.bounds_ = np.nanquantile(X, [self.lower, self.upper], axis=0)
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Return X with values between the bounds."""
        return np.clip(X, self.bounds_[0], self.bounds_[1])


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Take dates apart; a date is a number of days since 1970-01-01, UTC, and a gap (NaN) stays one in every part.

    weekday is 0 on Monday. With `parts` None these are year, month, day and
    weekday, and hour where a training row has a time of day. `cyclic` gives a
    part that comes round as the sine and cosine of its share of the period.
    """

    def __init__(self, parts: list[str] | None = None, cyclic: bool = False) -> None:
        self.parts = parts
        self.cyclic = cyclic

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn's signature
        """Choose the parts by X (rows, columns)."""
        timed = bool(np.any(np.nan_to_num(X) % 1))
        self.parts_ = self.parts or ["year", "month", "day", "weekday", *(["hour"] if timed else [])]
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Return the parts of each column (rows, columns * parts), side by side."""
        return np.hstack([self._apart(X[:, column]) for column in range(X.shape[1])])

    def names(self, columns: list[str]) -> list[str]:
        """Return the names of the columns that `transform` gives."""
        return [f"{column}.{name}" for column in columns for part in self.parts_ for name in self._named(part)]

    def _named(self, part: str) -> list[str]:
        return [f"{part}_sin", f"{part}_cos"] if self.cyclic and part in _PERIODS else [part]

    def _apart(self, days: Matrix) -> Matrix:
        gap = np.isnan(days)
        whole = np.where(gap, 0, np.floor(days)).astype("datetime64[D]")
        months = whole.astype("datetime64[M]")
        parts = {
            "year": months.astype("datetime64[Y]").astype(int) + 1970,
            "month": months.astype(int) % 12 + 1,
            "day": (whole - months).astype(int) + 1,
            "weekday": (whole.astype(int) + 3) % 7,
            "hour": np.floor(np.nan_to_num(days) % 1 * 24 + 1e-9),
        }
        columns: list[Matrix] = []
        for part in self.parts_:
            values = np.where(gap, np.nan, parts[part])
            if len(self._named(part)) == 2:
                turn = 2 * np.pi * values / _PERIODS[part]
                columns += [np.sin(turn), np.cos(turn)]
            else:
                columns.append(values)
        return np.column_stack(columns)
