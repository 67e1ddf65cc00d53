"""Fit an estimator in batches, by its partial_fit: a table that does not fit into memory.

The estimator sees the rows in the order of the part's files, which split has
shuffled, and shuffles each batch by its own seed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages import curves, progress
from stages.curves import Curve
from stages.models import Label
from stages.params import PATH
from stages.preparing import Ready
from stages.recipes import Recipe, TrainError
from stages.refusals import called
from stages.stepwise import Watched, quietly

Array = np.ndarray[Any, Any]

BATCH = 65_536  # rows that partial_fit is given at a time
_EPOCHS = 5  # where neither train.epochs nor max_iter is given; scikit-learn advises a million rows seen in all


def epochs(recipe: Recipe, estimator: Any) -> int:
    """Return how often the table is passed: train.epochs, a given max_iter, 5, or once for counts.

    Raises:
        TrainError: train.epochs is given for an estimator that would count every row again.
    """
    if not hasattr(estimator, "max_iter"):
        if recipe.epochs not in (None, 1):
            raise TrainError(f"{PATH}: train.epochs: {recipe.estimator} counts rows, and must see each once; leave out")
        return 1
    return recipe.epochs or recipe.hyperparameters.get("max_iter") or _EPOCHS


def fit(recipe: Recipe, estimator: Any, rows: Ready, labelled: bool, told: tuple[Watched, Curve] | None = None) -> Any:
    """Return the estimator, fitted on rows a batch at a time; `told` gets a score or the estimator's own after each.

    Raises:
        TrainError: the estimator refuses them.
    """
    values, target = rows.values, rows.target
    classes: Sequence[Label] | Array = np.unique(target) if labelled else ()
    if len(classes) and getattr(estimator, "class_weight", None) == "balanced":
        estimator.set_params(class_weight=_balanced(target))
    times, first = epochs(recipe, estimator), {"classes": classes} if len(classes) else {}
    with progress.step(f"fit {recipe.estimator}", times * len(target)) as report:
        for epoch in range(times):
            for start in range(0, len(target), BATCH):
                some = np.ascontiguousarray(values[start : start + BATCH])
                labels = target[start : start + BATCH]
                called(recipe, "train", estimator.partial_fit, some, labels, **first)
                first = {}
                if told is not None:
                    told[1].add(_seen(estimator, told[0]))
                report(epoch * len(target) + start + len(labels), told[1].text if told else "")
    return estimator


def _seen(estimator: Any, of: Watched) -> dict[str, float]:
    """Return what the estimator keeps of its last batch, else its score now."""
    kept = curves.kept(estimator)
    if kept:
        return {label: values[-1] for label, values in kept.items()}
    with quietly():
        return of.score(estimator.predict(of.rows.values))
    return {}


def _balanced(target: Array) -> dict[Label, float]:
    """Return scikit-learn's balanced weights, which partial_fit cannot know."""
    labels, counts = np.unique(target, return_counts=True)
    weights = len(target) / (len(labels) * counts)
    return dict(zip(labels.tolist(), weights.tolist(), strict=True))
