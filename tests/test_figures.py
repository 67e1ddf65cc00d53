"""Figures that are taken as rows go by."""

from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.figures import Figures
from stages.tables import Column, Type


def figures(values: list[Any], type_: Type = "number", size: int = 10**6, distinct: bool = False) -> Figures:
    """Show values to new figures, so many at a time."""
    stored = {"number": pa.float64(), "integer": pa.int64(), "date": pa.timestamp("us")}[type_]
    found = Figures([Column("x", type_), Column("t", "text")], distinct)
    for start in range(0, len(values), size):
        some = values[start : start + size]
        found.see(pa.table({"x": pa.array(some, stored), "t": [""] * len(some)}))
    return found


def test_the_mean_is_of_the_values_that_are_there_and_finite() -> None:
    assert figures([1.0, None, 4.0, float("inf"), float("-inf")]).means() == {"x": 2.5}
    assert figures([None, float("inf")]).means() == {"x": None}
    assert figures([]).means() == {"x": None}


def test_the_mean_of_integers_is_exact() -> None:
    values = [2**63 - 1, 2**63 - 3, -(2**63), 2**62 + 1, None, -1]
    there = [v for v in values if v is not None]
    assert figures(values, "integer", 2).means() == {"x": float(Fraction(sum(there), len(there)))}
    assert figures([10**15, 10**15 + 3], "date").means() == {"x": 10**15 + 1.5}


def test_the_mean_of_numbers_whose_sum_is_too_large_is_their_mean() -> None:
    assert figures([1e308, 1e308, 1.6e308]).means() == {"x": pytest.approx(1.2e308, rel=1e-15)}
    assert figures([1e308] * 9, size=2).means() == {"x": 1e308}


def test_different_values_that_are_few_are_counted_exactly() -> None:
    values = [None if i % 11 == 0 else (i % 4095) / 7 for i in range(60_000)]
    for size in (100, 17_000, 60_000):
        assert figures(values, size=size, distinct=True).distinct() == {"x": 4095}
    assert figures([0.0, -0.0, float("inf")], distinct=True).distinct() == {"x": 2}
    assert figures([], distinct=True).distinct() == {"x": 0}
    assert figures([1.0]).distinct() == {}


@pytest.mark.parametrize("type_", ["integer", "number", "date"])
@pytest.mark.parametrize("count", [4096, 30_000, 400_000])
def test_different_values_that_are_many_are_counted_to_a_few_per_cent(count: int, type_: Type) -> None:
    values = np.arange(count) * (0.25 if type_ == "number" else 1)
    shuffled = np.random.RandomState(0).permutation(np.concatenate([values, values])).tolist()
    stored = pa.timestamp("us") if type_ == "date" else None
    found = []
    for size in (9_999, 122_880):
        one = Figures([Column("x", type_)], True)
        for start in range(0, len(shuffled), size):
            one.see(pa.table({"x": pa.array(shuffled[start : start + size], stored)}))
        found.append(one.distinct()["x"])
    assert found[0] == found[1]
    assert found[0] == pytest.approx(count, rel=0.05)
