"""Metrics: how well predictions match what was there. Names and definitions are scikit-learn's.

A metric that the rows cannot give (an AUC on rows of one class, a log loss
without probabilities) is left out, and a note says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages import measures
from stages.confusion import Counts
from stages.errors import UserError
from stages.params import PATH
from stages.ranks import Ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Task = Literal["classification", "regression"]
Label = str | int | float

CLASSES = (
    "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc", "log_loss", "mcc",
)  # fmt: skip
TWO_CLASSES = ("precision", "recall", "f1", "average_precision")  # of the positive label
NUMBERS = ("rmse", "mae", "r2", "mape", "ae_p10", "ae_p50", "ae_p90")
METRICS = (*CLASSES, *TWO_CLASSES, *NUMBERS)

_NO_MARKS = "the estimator gives neither a probability nor a decision function that is a number for each label"


class ScoreError(UserError):
    """Predictions that cannot be scored."""


class _LeftOutError(Exception):
    """Why a metric cannot be had from these rows."""


@dataclass(frozen=True)
class Predicted:
    """What a model says of some rows, beside what was there."""

    actual: "Array"  # (rows,)
    predicted: "Array"  # (rows,) labels, from the estimator's own predict, or numbers
    labels: Sequence[Label] = ()  # those the model knows, in its order; none for numbers
    positive: Label | None = None  # the label that precision, recall and curves of two labels are of
    probabilities: "Array | None" = field(default=None, repr=False)  # (rows, labels)
    decision: "Array | None" = field(default=None, repr=False)  # (rows,) for two labels, or (rows, labels)

    @property
    def task(self) -> Task:
        """What the model predicts."""
        return "classification" if len(self.labels) else "regression"

    @cached_property
    def counts(self) -> Counts:
        """Rows of each label that was there or predicted."""
        return Counts.of(self.actual, self.predicted)

    @cached_property
    def of_positive(self) -> dict[str, float]:
        """Precision, recall and F1 of the positive label."""
        actual, predicted = self.actual == self.positive, self.predicted == self.positive
        counts = Counts.of(actual, predicted)
        # Without a row of either, the only label is False.
        there = (actual | predicted).any()
        return {n: float(counts.by_label(n)[-1]) if there else 0.0 for n in ("precision", "recall", "f1")}

    @cached_property
    def marks(self) -> "Array | None":
        """A number (rows, labels) that is higher the likelier the label: probability or decision function."""
        marks = self.decision if self.probabilities is None else self.probabilities
        if marks is None or not np.isfinite(marks).all():
            return None
        if marks.ndim == 1:
            return np.column_stack([-marks, marks])
        # An SVC asked for one-versus-one has a column a pair of labels, which says nothing of one label.
        return marks if marks.shape[1] == len(self.labels) else None

    @property
    def curved(self) -> list[Label]:
        """The labels that curves are drawn of: the positive of two, else all."""
        return [self.positive] if len(self.labels) == 2 and self.positive is not None else list(self.labels)

    def of(self, label: Label) -> "tuple[Array, Array | None]":
        """Return which rows (rows,) are a label, and its marks (rows,)."""
        return self.actual == label, None if self.marks is None else self.marks[:, list(self.labels).index(label)]

    def ranks(self, label: Label) -> Ranks | None:
        """Return how marks rank the rows of a label; None without marks, or without such a row."""
        is_label, marks = self.of(label)
        return Ranks.of(is_label, marks) if marks is not None and is_label.any() else None


def positive(wanted: bool | float | str | None, labels: Sequence[Label]) -> Label | None:
    """Return the label of two that evaluate.positive names, the last where it names none; None for another task.

    It is compared as text, true and false in any letter case: a category may be "1" or "True".

    Raises:
        ScoreError: it is none of the labels, or there are not two.
    """
    if wanted is None:
        return labels[-1] if len(labels) == 2 else None
    if len(labels) != 2:
        raise ScoreError(f"{PATH}: evaluate.positive: is for two labels, and the model predicts {outcome(labels)}")
    for label in labels:
        if isinstance(wanted, bool):
            same = str(label).lower() == str(wanted).lower()
        else:
            same = label == wanted or str(label) == str(wanted)
        if same:
            return label
    raise ScoreError(f"{PATH}: evaluate.positive: must be {outcome(labels)}, got {wanted!r}")


def outcome(labels: Sequence[Label]) -> str:
    """Return in words what a model of these labels predicts."""
    if len(labels) == 2:
        return " or ".join(map(repr, labels))
    return f"{len(labels)} labels" if labels else "numbers"


def applying(labels: int) -> tuple[str, ...]:
    """Return the names of the metrics for a number of labels; 0 means a model that predicts numbers."""
    if not labels:
        return NUMBERS
    return (*CLASSES, *TWO_CLASSES) if labels == 2 else CLASSES


def score(rows: Predicted, names: Sequence[str], part: str) -> tuple[dict[str, float], list[str]]:
    """Return the named metrics of the rows of a part, and a note on each that cannot be had.

    Raises:
        ScoreError: a model of numbers predicts what is no number.
    """
    if rows.task == "regression" and (bad := int((~np.isfinite(rows.predicted)).sum())):
        raise ScoreError(f"the model predicts no finite number for {bad} of {len(rows.actual)} rows of {part}")
    of = _NUMBERS if rows.task == "regression" else _CLASSES
    values, notes = {}, []
    for name in names:
        try:
            value = of[name](rows)
            if not np.isfinite(value):
                raise _LeftOutError("it is not a finite number")
            values[name] = value
        except _LeftOutError as reason:
            notes.append(f"{part}: {name} left out: {reason}")
    return values, notes


def _macro(name: str) -> Callable[[Predicted], float]:
    """Return a metric averaged over the labels, each counting the same."""
    return lambda rows: float(rows.counts.by_label(name).mean())


def _positive(name: str) -> Callable[[Predicted], float]:
    """Return a metric of the positive label."""
    return lambda rows: rows.of_positive[name]


def _roc_auc(rows: Predicted) -> float:
    """Area under the ROC curve, beyond two labels the mean of each label's against the rest.

    By label, because scikit-learn's takes no decision function beyond two labels.
    """
    if rows.marks is None:
        raise _LeftOutError(_NO_MARKS)
    areas = []
    for label in rows.curved:
        ranks = rows.ranks(label)
        if ranks is None or not ranks.others:
            raise _LeftOutError(f"{'all' if ranks else 'none'} of the {len(rows.actual)} rows are {label!r}")
        areas.append(ranks.roc_auc())
    return float(np.mean(areas))


def _average_precision(rows: Predicted) -> float:
    if rows.marks is None:
        raise _LeftOutError(_NO_MARKS)
    ranks = rows.ranks(rows.curved[0])
    if ranks is None:
        raise _LeftOutError(f"none of the {len(rows.actual)} rows are {rows.positive!r}")
    return ranks.average_precision()


def _log_loss(rows: Predicted) -> float:
    if rows.probabilities is None:
        raise _LeftOutError("the estimator has no probabilities (train.calibrate: true makes them)")
    if rows.marks is None:
        raise _LeftOutError("a probability is not a number")
    if unknown := unknown_labels(rows):
        raise _LeftOutError(f"the model does not know {unknown[0]!r}")
    return measures.log_loss(rows.actual, rows.probabilities, rows.labels)


def unknown_labels(rows: Predicted) -> list[Label]:
    """Return the labels of the rows that the model was not trained on; none for numbers."""
    if rows.task == "regression":
        return []
    known = set(rows.labels)
    return [label for label in np.unique(rows.actual).tolist() if label not in known]


def _r2(rows: Predicted) -> float:
    if len(np.unique(rows.actual)) < 2:
        raise _LeftOutError(f"the target is the same in all {len(rows.actual)} rows")
    return measures.r2(rows.actual, rows.predicted)


def _mape(rows: Predicted) -> float:
    if zeros := int((rows.actual == 0).sum()):
        raise _LeftOutError(f"the target is 0 in {zeros} of {len(rows.actual)} rows")
    return measures.mape(rows.actual, rows.predicted)


def _ae_percentile(percent: int) -> Callable[[Predicted], float]:
    """Return the percentile (linear between rows) of the absolute error."""
    return lambda rows: float(np.percentile(np.abs(rows.actual - rows.predicted), percent))


_CLASSES: dict[str, Callable[[Predicted], float]] = {
    "accuracy": lambda rows: rows.counts.accuracy(),
    "balanced_accuracy": lambda rows: rows.counts.balanced_accuracy(),
    "precision_macro": _macro("precision"),
    "recall_macro": _macro("recall"),
    "f1_macro": _macro("f1"),
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "mcc": lambda rows: rows.counts.mcc(),
    "precision": _positive("precision"),
    "recall": _positive("recall"),
    "f1": _positive("f1"),
    "average_precision": _average_precision,
}
_NUMBERS: dict[str, Callable[[Predicted], float]] = {
    "rmse": lambda rows: measures.rmse(rows.actual, rows.predicted),
    "mae": lambda rows: measures.mae(rows.actual, rows.predicted),
    "r2": _r2,
    "mape": _mape,
    "ae_p10": _ae_percentile(10),
    "ae_p50": _ae_percentile(50),
    "ae_p90": _ae_percentile(90),
}
