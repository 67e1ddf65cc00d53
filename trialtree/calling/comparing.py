"""Metrics of predictions against what a column of the table says."""

from typing import Any

import numpy as np

from stages import scores
from stages.scores import Predicted
from trialtree.calling.asked import CallError
from trialtree.calling.sending import Answered
from trialtree.serving.cells import NUMBER

_NUMBERS = ("ae_p10", "ae_p50", "ae_p90", "mae", "rmse", "r2")
_OF_MARKS = ("roc_auc", "log_loss", "average_precision")


def metrics(of: Answered, column: str) -> tuple[dict[str, float], list[str]]:
    """Return metrics by name, and a note on each that cannot be had and on rows without a value.

    Raises:
        UserError: the column does not hold what the model predicts.
    """
    values = of.kept.column(column).to_pylist()
    there = np.array([value is not None and str(value).strip() not in ("", "nan") for value in values])
    actual = np.array([_read(of, column, row, value) for row, value in enumerate(values) if there[row]])
    if not len(actual):
        raise CallError(f"--compare {column}: has no value")
    notes = [] if there.all() else [f"{int((~there).sum())} rows without {column} are not compared"]
    predicted = of.predicted[there]
    if not of.described.classification:
        found, more = scores.score(Predicted(actual, predicted), _NUMBERS, "the table")
        return found, notes + more
    labels = of.labels or np.unique(np.concatenate([actual, predicted])).tolist()
    names = [name for name in scores.applying(len(labels)) if of.probabilities is not None or name not in _OF_MARKS]
    probabilities = None if of.probabilities is None else of.probabilities[there]
    rows = Predicted(actual, predicted, labels, scores.positive(None, labels), probabilities)
    found, more = scores.score(rows, names, "the table")
    return found, notes + more


def _read(of: Answered, column: str, row: int, value: Any) -> Any:
    """Return a value of the column as what the model predicts is."""
    kind = of.described.kind
    if kind is str:
        return str(value).strip()
    if kind is bool:
        return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1")
    if isinstance(value, int | float) or NUMBER.fullmatch(str(value).strip()):
        return kind(float(value))
    what = "a label" if of.described.classification else "a number"
    raise CallError(f"--compare {column}: row {row}: must be {what} like {of.predicted[0]}, got {str(value)[:40]!r}")
