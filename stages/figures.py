"""Figures of a table's numbers and dates that are taken as its rows go by, row group by row group.

Different values are counted by the smallest hashes: K. Beyer et al., "On synopses for distinct-value estimation under
multiset operations", SIGMOD 2007, https://doi.org/10.1145/1247480.1247504.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.arrays import present
from stages.tables import Column, Type

if TYPE_CHECKING:
    import pyarrow as pa

_DTYPES: dict[Type, str] = {"integer": "int64", "date": "int64", "number": "float64"}
_SMALLER = 2.0**-64  # times numbers whose sum would be infinite
_HASHES = 4096  # of a column: fewer different values are counted exactly, more with a standard error of 1.6 %
_AT_ONCE = 2**14  # values, so that they stay in a processor's cache
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of splitmix64
_HALF, _SLOT = np.uint64(32), np.uint64(50)  # bits to shift by


class Figures:
    """Means and numbers of different values; the same row groups give the same."""

    def __init__(self, columns: Sequence[Column], distinct: bool) -> None:
        """Begin, without rows; `distinct`: whether different values are counted."""
        self._columns = {c.name: _Figure(_DTYPES[c.type], distinct) for c in columns if c.type in _DTYPES}

    def see(self, group: "pa.Table") -> None:
        """Add the rows of a row group."""
        with np.errstate(over="ignore", invalid="ignore"):
            for name, figure in self._columns.items():
                for chunk in group.column(name).chunks:
                    figure.see(present(chunk, figure.dtype))

    def means(self) -> dict[str, float | None]:
        """Return the mean of each column's finite values, None where there is none; of dates in microseconds."""
        return {name: figure.mean() for name, figure in self._columns.items()}

    def distinct(self) -> dict[str, int]:
        """Return about how many different values each column has, if they were counted."""
        counted = {name: figure.different for name, figure in self._columns.items()}
        return {name: different.count() for name, different in counted.items() if different}


class _Figure:
    """The figures of one column."""

    def __init__(self, dtype: str, distinct: bool) -> None:
        self.dtype = dtype
        self.different = _Different() if distinct else None
        self._sum, self._count = Fraction(), 0

    def see(self, values: NDArray[Any]) -> None:
        """Add values (n,)."""
        if self.different:
            self.different.see(values)
        total, count = _whole(values) if self.dtype == "int64" else _finite(values)
        self._sum += total
        self._count += count

    def mean(self) -> float | None:
        return float(self._sum / self._count) if self._count else None


def _whole(values: NDArray[np.int64]) -> tuple[Fraction, int]:
    """Return the sum of integers (n,), which is exact, and their number."""
    return Fraction((int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())), len(values)


def _finite(values: NDArray[np.float64]) -> tuple[Fraction, int]:
    """Return the sum of the finite ones of floats (n,), added up in pairs, and their number."""
    if np.isfinite(total := values.sum()):
        return Fraction(float(total)), len(values)
    values = values[np.isfinite(values)]
    if np.isfinite(total := values.sum()):
        return Fraction(float(total)), len(values)
    return Fraction(float((values * _SMALLER).sum())) / Fraction(_SMALLER), len(values)


class _Different:
    """The smallest hashes of values."""

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint64)
        self._waiting = [self._kept]
        self._limit = np.uint64(2**64 - 1)  # no larger hash is kept
        # Some hash that begins with the bits of a slot; at first one that does not.
        self._seen = np.arange(2 ** int(64 - _SLOT), dtype=np.uint64)[::-1] << _SLOT

    def see(self, values: NDArray[Any]) -> None:
        """Add values (n,) of 64 bits."""
        for start in range(0, len(values), _AT_ONCE):
            hashes = _hashed(values[start : start + _AT_ONCE])
            if len(self._kept) == _HASHES:
                hashes = hashes[hashes <= self._limit]
            # Few values that come again and again would be put in order again and again.
            slots = (hashes >> _SLOT).view(np.int64)
            new = self._seen[slots] != hashes
            hashes = hashes[new]
            self._seen[slots[new]] = hashes
            self._waiting.append(hashes)
            if sum(map(len, self._waiting)) > 2 * _HASHES:
                self._settle()

    def _settle(self) -> None:
        found = np.sort(np.concatenate(self._waiting))
        self._kept = found[np.diff(found, prepend=found[:1] + np.uint64(1)) != 0][:_HASHES]
        self._waiting = [self._kept]
        self._limit = self._kept[-1] if len(self._kept) else self._limit

    def count(self) -> int:
        """Return about how many different values there are."""
        self._settle()
        if len(self._kept) < _HASHES:
            return len(self._kept)
        return round((_HASHES - 1) * 2**64 / int(self._limit))


def _hashed(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return hashes (n,) of values of 64 bits, the same for 0 and -0."""
    hashes: NDArray[np.uint64] = (values + 0).view(np.uint64)
    for factor in _FACTORS:
        hashes ^= hashes >> _HALF
        hashes *= factor
    return hashes
