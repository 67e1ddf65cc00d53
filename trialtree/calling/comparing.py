"""Metrics of predictions against what a column of the table says."""

from collections.abc import Collection
from typing import Any

import numpy as np

from stages import scores
from stages.scores import Predicted
from trialtree.calling.asked import CallError
from trialtree.calling.sending import Answered
from trialtree.serving.cells import NUMBER

_NUMBERS = ("ae_p10", "ae_p50", "ae_p90", "mae", "rmse", "r2")
_TRUTH = {"false", "true"}  # the labels of a boolean target
_NAMED = 8  # labels in a message
_OF_MARKS = ("roc_auc", "log_loss", "average_precision")


def metrics(of: Answered, column: str) -> tuple[dict[str, float], list[str]]:
    """Return metrics by name, and a note on each that cannot be had and on rows without a value.

    Raises:
        UserError: the column does not hold what the model predicts.
    """
    values = of.kept.column(column).to_pylist()
    there = np.array([value is not None and str(value).strip() not in ("", "nan") for value in values])
    known = _labels(of)
    actual = np.array([_read(of, known, column, row, value) for row, value in enumerate(values) if there[row]])
    if not len(actual):
        raise CallError(f"--compare {column}: has no value")
    notes = [] if there.all() else [f"{int((~there).sum())} rows without {column} are not compared"]
    predicted = of.predicted[there]
    if not of.described.classification:
        found, more = scores.score(Predicted(actual, predicted), _NUMBERS, "the table")
        return found, notes + more
    if known.isdisjoint(actual.tolist()):
        if of.labels:
            some = ", ".join(str(label)[:40] for label in of.labels[:_NAMED])
            raise CallError(f"--compare {column}: holds no label of the model ({some}): {str(actual[0])[:40]!r}")
        notes.append(f"{column} holds no label that was predicted: {str(actual[0])[:40]!r}")
    labels = of.labels or np.unique(np.concatenate([actual, predicted])).tolist()
    names = [name for name in scores.applying(len(labels)) if of.probabilities is not None or name not in _OF_MARKS]
    probabilities = None if of.probabilities is None else of.probabilities[there]
    rows = Predicted(actual, predicted, labels, scores.positive(None, labels), probabilities)
    found, more = scores.score(rows, names, "the table")
    return found, notes + more


def _labels(of: Answered) -> set[Any]:
    """Return the labels that are known: without probabilities those that were predicted, and both of a truth."""
    if not of.described.classification:
        return set()
    known = set(of.labels or of.predicted.tolist())
    return known | _TRUTH if known <= _TRUTH else known


def _read(of: Answered, known: Collection[Any], column: str, row: int, value: Any) -> Any:
    """Return a value of the column as what the model predicts is."""
    kind = of.described.kind
    if kind is str:
        text = str(value).lower() if isinstance(value, bool) else str(value).strip()
        return text.lower() if text not in known and text.lower() in known else text
    if kind is bool:
        return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1")
    if isinstance(value, int | float) or NUMBER.fullmatch(str(value).strip()):
        return kind(float(value))
    what = "a label" if of.described.classification else "a number"
    raise CallError(f"--compare {column}: row {row}: must be {what} like {of.predicted[0]}, got {str(value)[:40]!r}")
