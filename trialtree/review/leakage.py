"""What a model should not have known: warnings about the data of a trial, none of them a proof."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.tables import Column
from trialtree.review import drift

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

_SHARE = 0.01  # of the rows, or of the spread, that a column which gives the target away leaves unexplained
_AN_ID = re.compile(r"(^|[_\W])(id|uuid|guid)$|[a-z]I[dD]$")
_DISTINCT = 0.1  # share of the rows from which texts may be names of things


def gives_away(target: Array, values: "pa.ChunkedArray", *, classes: bool) -> float | None:
    """Return how well a column alone predicts the target where that is almost perfectly, None elsewhere.

    Accuracy, or R² of ranks (which no far value hides), on rows that were not used to learn it: each half is predicted
    by the other, from the rows of the same value, and of numbers of the nearest that is there.
    """
    places, ordered = _placed(values)
    if classes:
        labels, codes = np.unique(target, return_inverse=True)
        if len(labels) < 2:
            return None
        missed = np.mean([_labelled(places, codes, len(labels), halves, ordered) for halves in _halves(len(places))])
        most = np.bincount(codes).max() / len(codes)
        return float(1 - missed) if missed <= _SHARE * min(1.0, 2 * (1 - most)) else None
    _, ranks = np.unique(target, return_inverse=True)
    spread = float(((ranks - ranks.mean()) ** 2).mean())
    if not spread:
        return None
    left = np.mean([_numbered(places, ranks, halves, ordered) for halves in _halves(len(places))])
    return float(1 - left / spread) if left / spread <= _SHARE else None


def _halves(rows: int) -> Iterator[tuple[Array, Array]]:
    """Yield each half of the rows twice: to learn from, to predict."""
    even = np.arange(rows) % 2 == 0
    yield even, ~even
    yield ~even, even


def _placed(values: "pa.ChunkedArray") -> tuple[Array, bool]:
    """Return a number (rows,) for each different value, gaps the last, and whether their order means something."""
    import pyarrow as pa

    if pa.types.is_string(values.type):
        coded = values.combine_chunks().dictionary_encode()
        return np.asarray(coded.indices.fill_null(len(coded.dictionary)).to_numpy(), dtype=np.int64), False
    numbers = drift.numbers(values)
    found, places = np.unique(np.where(np.isfinite(numbers), numbers, np.inf), return_inverse=True)
    return places.astype(np.int64), len(found) > 1


def _nearest(known: Array, wanted: Array, *, ordered: bool) -> Array:
    """Return of each wanted place which of the known ones (in order) is the nearest; -1 where none tells anything."""
    after = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
    if not ordered:
        return np.where(known[after] == wanted, after, -1)
    before = np.clip(after - 1, 0, None)
    return np.where(np.abs(known[before] - wanted) < np.abs(known[after] - wanted), before, after)


def _labelled(places: Array, codes: Array, labels: int, halves: tuple[Array, Array], ordered: bool) -> float:
    """Return the share of rows whose label is not the most frequent one of their value."""
    learn, predict = halves
    known, at = np.unique(places[learn], return_inverse=True)
    pairs, rows = np.unique(at * labels + codes[learn], return_counts=True)
    order = np.lexsort((rows, pairs // labels))  # of each value the most frequent label last
    best = np.zeros(len(known), np.int64)
    best[pairs[order] // labels] = pairs[order] % labels
    nearest = _nearest(known, places[predict], ordered=ordered)
    said = np.where(nearest < 0, np.bincount(codes[learn]).argmax(), best[nearest])
    return float((said != codes[predict]).mean())


def _numbered(places: Array, target: Array, halves: tuple[Array, Array], ordered: bool) -> float:
    """Return the mean squared error of the mean of each value."""
    learn, predict = halves
    known, at = np.unique(places[learn], return_inverse=True)
    means = np.bincount(at, weights=target[learn]) / np.bincount(at)
    nearest = _nearest(known, places[predict], ordered=ordered)
    said = np.where(nearest < 0, target[learn].mean(), means[nearest])
    return float(((target[predict] - said) ** 2).mean())


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
