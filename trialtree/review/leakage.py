"""What a model should not have known: warnings about the data of a trial, none of them a proof."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

_SHARE = 0.01  # of the rows, or of the spread, that a column which gives the target away leaves unexplained
_BINS = 200
_ROWS_A_BIN = 20
_AN_ID = re.compile(r"(^|[_\W])(id|uuid|guid)$|[a-z]I[dD]$")
_DISTINCT = 0.1  # share of the rows from which texts may be names of things


def gives_away(target: Array, values: "pa.ChunkedArray", *, classes: bool) -> float | None:
    """Return how well a column alone predicts the target where that is almost perfectly, None elsewhere.

    Accuracy or R², on rows that were not used to learn it: each half of the rows is predicted by the other, by the most
    frequent label or mean of the rows of the same value, or of the same of up to 200 bins of equal count.
    """
    bins = _binned(values)
    count = int(bins.max(initial=0)) + 1
    if classes:
        labels, codes = np.unique(target, return_inverse=True)
        if len(labels) < 2:
            return None
        right = sum(_right(bins, codes, halves, (count, len(labels))) for halves in _halves(len(bins)))
        most = np.bincount(codes).max() / len(codes)
        missed = 1 - right / len(codes)
        return 1 - missed if missed <= _SHARE * min(1.0, 2 * (1 - most)) else None
    spread = float(((target - target.mean()) ** 2).sum())
    if not spread:
        return None
    left = sum(_left(bins, target, halves, count) for halves in _halves(len(bins)))
    return 1 - left / spread if left / spread <= _SHARE else None


def _halves(rows: int) -> Iterator[tuple[Array, Array]]:
    """Yield each half of the rows twice: to learn from, to predict."""
    even = np.arange(rows) % 2 == 0
    yield even, ~even
    yield ~even, even


def _right(bins: Array, codes: Array, halves: tuple[Array, Array], shape: tuple[int, int]) -> int:
    learn, predict = halves
    counts = np.bincount(bins[learn] * shape[1] + codes[learn], minlength=shape[0] * shape[1]).reshape(shape)
    best = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), np.bincount(codes[learn]).argmax())
    return int((best[bins[predict]] == codes[predict]).sum())


def _left(bins: Array, target: Array, halves: tuple[Array, Array], count: int) -> float:
    learn, predict = halves
    rows = np.bincount(bins[learn], minlength=count)
    sums = np.bincount(bins[learn], weights=target[learn], minlength=count)
    means = np.divide(sums, rows, out=np.full(count, target[learn].mean()), where=rows > 0)
    return float(((target[predict] - means[bins[predict]]) ** 2).sum())


def _binned(values: "pa.ChunkedArray") -> Array:
    """Return a number (rows,) for each value, or for each bin of numbers; gaps are one of their own."""
    import pyarrow as pa

    from trialtree.review import drift

    if pa.types.is_string(values.type):
        coded = values.combine_chunks().dictionary_encode()
        return np.asarray(coded.indices.fill_null(len(coded.dictionary)).to_numpy(), dtype=np.int64)
    numbers = drift.numbers(values)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return np.zeros(len(numbers), np.int64)
    bins = max(2, min(_BINS, len(known) // _ROWS_A_BIN))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="nearest"))
    places = np.searchsorted(edges, np.where(np.isfinite(numbers), numbers, np.inf), side="left")
    return np.where(np.isfinite(numbers), places, len(edges) + 1).astype(np.int64)


def names_things(column: Column, values: "pa.ChunkedArray") -> bool:
    """Say whether values seem to name what the rows are of: by role, by name, or as many different texts."""
    import pyarrow.compute as pc

    if column.role in ("key", "group"):
        return True
    if column.role != "feature" or column.type in ("number", "date"):
        return False
    if _AN_ID.search(column.name):
        return True
    return column.type in ("category", "text") and pc.count_distinct(values).as_py() >= _DISTINCT * len(values)


def in_both(train: "pa.ChunkedArray", test: "pa.ChunkedArray") -> int:
    """Return how many rows of the test part have a value that the train part has too; a gap is none."""
    import pyarrow.compute as pc

    return int(pc.sum(pc.is_in(test.drop_null(), value_set=train.drop_null().combine_chunks())).as_py() or 0)
