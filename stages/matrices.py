"""A table's feature columns as one matrix of float64: what every estimator here starts from.

Numbers are themselves, a date is days since 1970-01-01, a category is the
place of its text among the training rows' categories, one that they did not
have is their count, and a gap is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.tables import Column, Columns, DataError

if TYPE_CHECKING:
    import pyarrow as pa

Matrix = NDArray[np.float64]

_MICROSECONDS_A_DAY = 86_400_000_000
_EXACT = 2**53  # the whole numbers up to here are all float64's


def matrix(table: "pa.Table", columns: Sequence[Column], categories: Mapping[str, Sequence[str]]) -> Matrix:
    """Return the matrix (rows, columns) of a table that has at least these columns.

    Raises:
        DataError: a column is not there.
    """
    values = np.empty((table.num_rows, len(columns)), dtype=np.float64)
    for place, column in enumerate(columns):
        if column.name not in table.column_names:
            raise DataError(f"the table has no column {column.name!r}; it has: {', '.join(table.column_names)}")
        values[:, place] = _numbers(table.column(column.name), column, categories.get(column.name, ()))
    return values


def _numbers(values: Any, column: Column, known: Sequence[str]) -> Matrix:
    """Return a column's values as numbers (rows,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type in ("category", "text"):
        texts = values.cast(pa.string())
        codes = pc.index_in(texts, value_set=pa.array(list(known), pa.string()), skip_nulls=True)
        # index_in says null for a gap and for an unknown text alike: the unknown gets the next free place.
        values = pc.if_else(pc.and_(pc.is_null(codes), pc.is_valid(texts)), len(known), codes)
    elif column.type == "date":
        microseconds = values.cast(pa.timestamp("us")).cast(pa.int64())
        # Microseconds beyond the year 2255 are rounded to the next that float64 has.
        values = pc.divide(microseconds.cast(pa.float64(), safe=False), float(_MICROSECONDS_A_DAY))
    elif column.type == "integer" and not _exact(values):
        raise DataError(
            f"column {column.name!r} holds whole numbers beyond {_EXACT}, which float64 cannot tell apart; "
            "make it a category: fetch.types"
        )
    result: Matrix = values.cast(pa.float64(), safe=False).to_numpy()
    return result


def _exact(values: Any) -> bool:
    """Whether float64 can tell all whole numbers of a column apart."""
    import pyarrow.compute as pc

    ends = pc.min_max(values)
    return all(end is None or abs(end) <= _EXACT for end in (ends["min"].as_py(), ends["max"].as_py()))


def shown(value: float) -> str:
    """Return a number as text that no other number has."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


@dataclass(frozen=True)
class Preparation:
    """What turns a table into what the estimator takes: fitted on the training rows, stored with the estimator."""

    columns: Columns  # that it takes, in order
    categories: dict[str, list[str]]  # of its category columns
    fitted: Any = field(repr=False)  # scikit-learn's transformer of the matrix
    outputs: list[str]  # names of the columns that the estimator sees
    natives: dict[str, int]  # those that CatBoost takes as categories, with their places among the outputs

    def __call__(self, table: "pa.Table") -> Any:
        """Return the rows of a table as the estimator takes them.

        Raises:
            DataError: a column is not there.
        """
        return self.arranged(self.transformed(table))

    def transformed(self, table: "pa.Table") -> Matrix:
        """Return the preprocessed matrix (rows, outputs)."""
        result: Matrix = self.fitted.transform(matrix(table, self.columns, self.categories))
        return result

    def arranged(self, values: Matrix) -> Any:
        """Return the preprocessed matrix itself, or where CatBoost takes categories, its numbers and texts apart."""
        if not self.natives:
            return values
        from catboost import FeaturesData

        places = list(self.natives.values())
        texts = np.empty((len(values), len(places)), dtype=object)
        for column, (name, place) in enumerate(self.natives.items()):
            texts[:, column] = _texts(values[:, place], self.categories.get(name))
        numbers = np.delete(values, places, axis=1).astype(np.float32)
        return FeaturesData(num_feature_data=numbers if numbers.shape[1] else None, cat_feature_data=texts)

    @property
    def arranged_names(self) -> list[str]:
        """Names of the columns in the order of `arranged`: CatBoost puts numbers before categories."""
        return [name for name in self.outputs if name not in self.natives] + list(self.natives)


def _texts(values: Matrix, known: Sequence[str] | None) -> "np.ndarray[Any, Any]":
    """Return categories as the bytes that CatBoost takes: each category's text, and none for a gap."""
    if known is None:
        return np.array([b"" if np.isnan(v) else shown(v).encode() for v in values], dtype=object)
    texts = np.array([*(text.encode() for text in known), b"\x00other", b""], dtype=object)
    result: np.ndarray[Any, Any] = texts[np.where(np.isnan(values), len(known) + 1, values).astype(int)]
    return result
