"""How honest the report's verdict is: pairs of models whose true difference is known.

    python benchmarks/verdicts.py [--pairs 1000]

Of each case, pairs without a true difference (how often is one called better,
or worse?) and with one of two standard errors (how often is it found? a test at
5 % finds half of these). The predictions of a pair are correlated, as those of
two trials on the same rows are.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import gates
from stages.scores import Predicted
from trialtree.review import verdict, weighted
from trialtree.review.pairs import Pairs

Array = NDArray[Any]
Made = Callable[[np.random.Generator, int, float], tuple[Predicted, Predicted]]


@dataclass(frozen=True)
class Case:
    """A metric, a number of rows, and what draws pairs of models of which head is better by `gain`."""

    metric: str
    rows: int
    made: Made

    @property
    def name(self) -> str:
        """The case, as tables name it."""
        return f"{self.metric}, {self.rows:,} rows"


def classes(draw: np.random.Generator, rows: int, gain: float) -> tuple[Predicted, Predicted]:
    """Return two models of two labels, each right in 85 % of the rows; `gain` is that of head's share."""
    actual = draw.integers(2, size=rows)
    both = draw.random(rows) < 0.6  # rows that both get right or wrong together
    shared = draw.random(rows) < 0.85
    right = [np.where(both, shared, draw.random(rows) < 0.85) for _ in range(2)]
    right[1] = right[1] | (draw.random(rows) < gain / 0.15) if gain >= 0 else right[1]
    base, head = (Predicted(actual, np.where(of, actual, 1 - actual), [0, 1], 1) for of in right)
    return base, head


def ranked(draw: np.random.Generator, rows: int, gain: float) -> tuple[Predicted, Predicted]:
    """Return two models that rank rows of two labels; `gain` is how much further apart head sees these."""
    actual = draw.integers(2, size=rows)
    common = draw.normal(size=rows)
    found = []
    for more in (0.0, gain):
        score = (1.5 + more) * actual + 0.8 * common + 0.6 * draw.normal(size=rows)
        marks = 1 / (1 + np.exp(-score))
        found.append(Predicted(actual, (marks > 0.5).astype(int), [0, 1], 1, np.column_stack([1 - marks, marks])))
    return found[0], found[1]


def amounts(draw: np.random.Generator, rows: int, gain: float) -> tuple[Predicted, Predicted]:
    """Return two models of numbers whose errors have long tails; `gain` is by how much head's are smaller."""
    actual = draw.lognormal(3, 1, rows)
    common = draw.standard_t(5, rows)
    errors = [0.7 * common + 0.7 * draw.standard_t(5, rows) for _ in range(2)]
    return Predicted(actual, actual + errors[0]), Predicted(actual, actual + (1 - gain) * errors[1])


CASES = (
    Case("accuracy", 38, classes),
    Case("accuracy", 500, classes),
    Case("f1_macro", 500, classes),
    Case("roc_auc", 200, ranked),
    Case("log_loss", 500, ranked),
    Case("rmse", 100, amounts),
    Case("mae", 500, amounts),
    Case("ae_p50", 500, amounts),
)


def _truth(case: Case, gain: float) -> float:
    """Return the mean difference of a gain, in the direction of better."""
    return float(np.mean(_differences(case, gain, 300, 7)))


def _differences(case: Case, gain: float, pairs: int, seed: int) -> Array:
    sign = -1 if gates.lower_is_better(case.metric) else 1
    ones, found = np.ones((1, case.rows)), []
    for number in range(pairs):
        base, head = case.made(np.random.default_rng([seed, number]), case.rows, gain)
        values = [float(weighted.metric(case.metric, rows)(ones)[0]) for rows in (base, head)]
        found.append(sign * (values[1] - values[0]))
    return np.array(found)


@cache
def gain_of(case: Case, errors: float) -> float:
    """Return the gain that makes a true difference of so many standard errors of a difference."""
    if not errors:
        return 0.0
    wanted = errors * float(_differences(case, 0.0, 1000, 11).std())
    low, high = 0.0, 0.9 if case.made is amounts else 0.15 if case.made is classes else 3.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _truth(case, middle) < wanted else (low, middle)
    return (low + high) / 2


def counted(case: Case, errors: float, pairs: int) -> Counter[str]:
    """Return how often each verdict is given of pairs with a true difference of so many standard errors."""
    gain = gain_of(case, errors)
    found: Counter[str] = Counter()
    for number in range(pairs):
        base, head = case.made(np.random.default_rng([1, number]), case.rows, gain)
        of = verdict.judge(case.metric, Pairs(base, head, (case.rows, case.rows), "by their number", 0))
        found[of.outcome if of else "none"] += 1
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    pairs = parser.parse_args().pairs
    print("| | no true difference: better | worse | two standard errors: better | worse |")
    print("|---|---|---|---|---|")
    for case in CASES:
        same, apart = counted(case, 0.0, pairs), counted(case, 2.0, pairs)
        shares = (same["better"], same["worse"], apart["better"], apart["worse"])
        print(f"| {case.name} | {' | '.join(f'{n / pairs:.1%}' for n in shares)} |", flush=True)


if __name__ == "__main__":
    main()
