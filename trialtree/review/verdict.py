"""Is head better than base? Not whether its figure is higher, but whether these rows can show that the model is.

The main metric's difference on the rows that both have decides: better or
worse where its 95 % interval lies on one side of 0. Where that metric is
accuracy, McNemar's test (mid-p, as of Fagerland, Lydersen and Laake 2013,
doi:10.1186/1471-2288-13-91) must say so too: on the few rows that only one
model gets right a bootstrap is too sure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stages import gates
from stages.scores import METRICS, Predicted
from trialtree.review import bootstrap
from trialtree.review.bootstrap import Interval
from trialtree.review.pairs import Pairs

Outcome = Literal["better", "worse", "no difference"]

_ALPHA = 1 - bootstrap.LEVEL
_DEFAULT = {"classification": "accuracy", "regression": "rmse"}


@dataclass(frozen=True)
class McNemar:
    """Rows that only one of the two models gets right, and how likely so unequal numbers of them are by chance."""

    only_base: int
    only_head: int
    p: float  # mid-p of the exact test, of both sides


@dataclass(frozen=True)
class Verdict:
    """What the rows that both have say of the main metric."""

    metric: str
    outcome: Outcome
    base: float
    head: float
    interval: Interval
    rows: int
    mcnemar: McNemar | None
    identical: bool  # both predict the same of each row

    def __str__(self) -> str:
        """Say it in a sentence."""
        if self.identical:
            return f"No difference: both predict the same of all {self.rows:,} rows."
        said = {"better": "Better", "worse": "Worse", "no difference": "No difference"}[self.outcome]
        if self.outcome == "no difference":
            said += f" that {self.rows:,} rows can show"
        return (
            f"{said}: {self.metric} {shown(self.base)} → {shown(self.head)} "
            f"({signed(self.interval.difference)}, 95 % interval {signed(self.interval.low)} to "
            f"{signed(self.interval.high)}, on {self.rows:,} rows)."
        )


def main_metric(params: Mapping[str, Any], task: str, known: Iterable[str]) -> str:
    """Return the metric that decides: review.metric, else the sweep's first objective, else the first gate's.

    Of those that the rows do not give the next is taken; accuracy or RMSE in the end. `params` are by dotted name.
    """
    known = list(known)
    for name in _asked(params):
        bare = name.rpartition(".")[2]
        if bare in METRICS and bare in known:
            return bare
    return _DEFAULT[task] if _DEFAULT[task] in known or not known else known[0]


def _asked(params: Mapping[str, Any]) -> Iterable[str]:
    """Yield the names of metrics that params care for, the most telling first."""
    objective = params.get("sweep.objective")
    first = objective[0] if isinstance(objective, Sequence) and not isinstance(objective, str) and objective else {}
    named = [params.get("review.metric"), params.get("sweep.objective.metric")]
    named.append(first.get("metric") if isinstance(first, Mapping) else None)
    named += [key.split(".")[2] for key in params if key.startswith("register.gates.") and key.count(".") > 2]
    return [name for name in named if isinstance(name, str)]


def judge(metric: str, pairs: Pairs, *, interval: Interval | None = None) -> Verdict | None:
    """Return the verdict on a metric; None where the shared rows do not give it for both sides."""
    found = interval or bootstrap.difference(metric, pairs.base, pairs.head)
    if found is None:
        return None
    lower = gates.lower_is_better(metric)
    test = mcnemar(pairs.base, pairs.head) if pairs.head.task == "classification" else None
    outcome: Outcome = "no difference"
    if found.excludes_zero and (metric != "accuracy" or test is None or test.p < _ALPHA):
        outcome = "better" if (found.difference < 0) == lower else "worse"
    before, after = (_value(metric, rows) for rows in (pairs.base, pairs.head))
    return Verdict(metric, outcome, before, after, found, pairs.shared, test, _identical(pairs))


def _value(metric: str, rows: Predicted) -> float:
    from trialtree.review import weighted

    return float(weighted.metric(metric, rows)(np.ones((1, len(rows.actual))))[0])


def _identical(pairs: Pairs) -> bool:
    same = np.array_equal(pairs.base.predicted, pairs.head.predicted)
    marks = pairs.base.probabilities, pairs.head.probabilities
    if marks[0] is None or marks[1] is None:
        return same and marks[0] is marks[1]
    return same and np.array_equal(marks[0], marks[1])


def mcnemar(base: Predicted, head: Predicted) -> McNemar:
    """Compare two models of labels by the rows that only one of them gets right."""
    from scipy.stats import binom

    right = base.predicted == base.actual, head.predicted == head.actual
    only_base, only_head = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    total, fewer = only_base + only_head, min(only_base, only_head)
    if only_base == only_head:
        return McNemar(only_base, only_head, 1.0)
    p = 2 * binom.cdf(fewer, total, 0.5) - binom.pmf(fewer, total, 0.5)
    return McNemar(only_base, only_head, float(p))


def shown(value: float) -> str:
    """Return a figure to four digits behind the point, or as many as tell it."""
    return f"{value:.4f}" if value == 0 or 0.00005 <= abs(value) < 1000 else f"{value:,.4g}"


def signed(value: float) -> str:
    """Return a difference with its sign, a real minus."""
    text = shown(abs(value))
    return f"{'−' if value < 0 else '+'}{text}" if value else text
