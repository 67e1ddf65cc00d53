"""The data of plots, small enough for Git and a browser: tables that `dvc plots show` and the report draw.

A table is a header and its rows. Curves and clouds of points are thinned to
about `POINTS` rows a file at most, evenly and always the same ones; the
confusion matrix is counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import ranks
from stages.confusion import cells
from stages.files import as_csv, put
from stages.folding import Point
from stages.scores import Label, Predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 1000
_LEAST = 20  # of a curve, however many labels there are
_BINS = 10  # of the calibration curve
_BARS = 50  # of the importances, the largest


@dataclass(frozen=True)
class Plot:
    """A table to draw."""

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def of_predictions(rows: Predicted) -> dict[str, Plot]:
    """Return the plots of predictions by the name of their file; one that they cannot give has no rows.

    Each is always there, because `dvc plots show` warns of a file that is not.
    """
    return {
        "calibration": calibration(rows),
        "confusion": confusion(rows),
        "precision_recall": precision_recall(rows),
        "predicted_actual": predicted_actual(rows),
        "residuals": residuals(rows),
        "roc": roc(rows),
    }


def write(plots: Mapping[str, Plot], folder: Path) -> None:
    """Write each plot's CSV file to a folder that nobody sees before it is complete."""
    for name, plot in plots.items():
        put(folder / f"{name}.csv", as_csv([plot.header, *plot.rows]))


def confusion(rows: Predicted) -> Plot:
    """Return how often each label was there and was predicted, in order; pairs that never were are left out."""
    points: list[tuple[Any, ...]] = []
    if rows.task == "classification":
        points += cells(rows.actual, rows.predicted)
    return Plot(("actual", "predicted", "count"), points)


def roc(rows: Predicted) -> Plot:
    """Return a ROC curve for each label, of two for the positive one; labels of no or all rows have none."""
    points: list[tuple[Any, ...]] = []
    for label in rows.curved:
        found = rows.ranks(label)
        if found and found.others:
            points += _thinned(rows, label, *found.roc())
    return Plot(("label", "false_positive_rate", "true_positive_rate"), points)


def precision_recall(rows: Predicted) -> Plot:
    """Return a precision-recall curve for each label, of two for the positive one."""
    points: list[tuple[Any, ...]] = []
    for label in rows.curved:
        if found := rows.ranks(label):
            recall, precision = found.precision_recall(thinned=True)
            points += _thinned(rows, label, recall[::-1], precision[::-1])
    return Plot(("label", "recall", "precision"), points)


def calibration(rows: Predicted) -> Plot:
    """Return for each label the mean probability and the share of rows that are it, in ten bins of equal width."""
    points: list[tuple[Any, ...]] = []
    for label in rows.curved if rows.probabilities is not None else ():
        is_label, marks = rows.of(label)
        if marks is not None and is_label.any():
            points += _thinned(rows, label, *ranks.calibration(is_label, np.clip(marks, 0, 1), _BINS))
    return Plot(("label", "mean_probability", "share_of_rows"), points)


def predicted_actual(rows: Predicted) -> Plot:
    """Return the number there was and the one predicted."""
    points = _pairs(rows.actual, rows.predicted) if rows.task == "regression" else []
    return Plot(("actual", "predicted"), points)


def residuals(rows: Predicted) -> Plot:
    """Return the number predicted and what there was beyond it."""
    points = _pairs(rows.predicted, rows.actual - rows.predicted) if rows.task == "regression" else []
    return Plot(("predicted", "residual"), points)


def importance(weights: Mapping[str, float]) -> Plot:
    """Return the columns that weigh most, the weightiest first."""
    order = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return Plot(("column", "importance"), list(order[:_BARS]))


def learning_curve(curve: Sequence[Point], metric: str) -> Plot:
    """Return a metric on the rows fitted on and on those held out, by the number of rows fitted on."""
    points = [(point.rows, point.train.get(metric), point.held_out.get(metric), metric) for point in curve]
    return Plot(("rows", "train", "held_out", "metric"), points)


def _thinned(rows: Predicted, label: Label, x: "NDArray[Any]", y: "NDArray[Any]") -> list[tuple[Any, ...]]:
    """Return a label's curve, with its share of the points."""
    return [(label, *pair) for pair in _pairs(x, y, max(POINTS // len(rows.curved), _LEAST))]


def _pairs(x: "NDArray[Any]", y: "NDArray[Any]", most: int = POINTS) -> list[tuple[Any, ...]]:
    """Return at most so many pairs, the first and the last among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(np.int64))
    return list(zip(x[kept].tolist(), y[kept].tolist(), strict=True))
