"""Fit a recipe on the rows of a table: preprocessing and estimator together, on these rows only."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import (
    boosting,
    columnwise,
    curves,
    estimators,
    features,
    incremental,
    memory,
    preparing,
    resampling,
    stepwise,
    targets,
)
from stages.batches import Held, Rows
from stages.curves import Curve
from stages.errors import UserError
from stages.matrices import Preparation
from stages.memory import Plan
from stages.models import Label, Model, Task, needs_codes
from stages.params import PATH
from stages.preparing import Ready
from stages.recipes import Recipe, TrainError
from stages.refusals import called, warned
from stages.stepwise import Watched
from stages.tables import Columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _Beside:
    """What goes with the rows of a fit."""

    validation: Rows | None = None
    curve: Curve | None = None
    stored: bool = True  # whether the model is to be saved


@dataclass(frozen=True)
class Fitted:
    """A model, and what was seen while it was fitted."""

    model: Model
    curve: dict[str, list[float]]  # a metric's value at each iteration; empty where there are no iterations
    notes: list[str]  # lines for the person who runs it


def fit(
    recipe: Recipe,
    columns: Columns,
    train: "Rows | pa.Table",
    validation: "Rows | pa.Table | None" = None,
    curve: Curve | None = None,
) -> Fitted:
    """Fit a recipe on `train`; `validation` only chooses the best iteration of an estimator that boosts.

    `curve` is told the values of each iteration as they come; without it, those that the estimator keeps are all.

    Raises:
        UserError: the recipe does not fit the table, or the estimator cannot be fitted.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        beside = _Beside(None if validation is None else _rows(validation), curve)
        fitted = _fitted(recipe, columns, _rows(train), beside)
    return replace(fitted, notes=fitted.notes + warned(caught))


def refitted(recipe: Recipe, columns: Columns, train: "pa.Table") -> Model:
    """Return the model of a recipe that was fitted before, on other rows: to be scored, and not to be saved.

    Raises:
        UserError: as `fit`.
    """
    from sklearn import config_context

    # The hyperparameters were checked when the recipe was fitted first.
    with warnings.catch_warnings(action="ignore"), config_context(skip_parameter_validation=True):
        return _fitted(recipe, columns, Held(train), _Beside(stored=False)).model


def _rows(table: "Rows | pa.Table") -> Rows:
    """Return a table in memory as rows."""
    return Held(table) if hasattr(table, "column_names") else table


def _fitted(recipe: Recipe, columns: Columns, train: Rows, beside: _Beside) -> Fitted:
    """Fit a recipe; see `fit`."""
    validation, curve = beside.validation, beside.curve
    cls = estimators.find(recipe.estimator)
    task = estimators.task(cls)
    taken = features.chosen(columns, recipe.features, recipe.catboost)
    kept = taken[0]
    if train.num_rows * len(kept) < memory.STREAMED:
        train = Held(train.read([*kept, columns.target]), train.where)
    target = targets.learnable(train.read([columns.target]), columns.target, task, recipe.estimator)
    labels = targets.labels_of(target, task, columns.target)
    estimator, notes = _estimator(recipe, task)
    of = replace(preparing.chosen(recipe, columns.target, taken, train), stored=beside.stored)
    held_out = validation.num_rows if validation and recipe.catboost else 0
    made = _planned(of, cls, train.num_rows + held_out, labels)
    notes += [made.note] if made.note else []
    preparation, ready = preparing.fitted(of, train, target, made)
    if len(ready.target) < len(target):
        notes.append(f"{len(target) - len(ready.target)} rows with gaps left out of training")
    ready = Ready(*resampling.resampled(recipe, task, ready.values, ready.target, bool(preparation.natives)))
    if needs_codes(recipe.estimator) and task == "classification":
        ready = Ready(ready.values, np.searchsorted(labels, ready.target))
    if recipe.catboost:
        held, more = _held(validation, of, labels, preparation, made)
        estimator = _boosted(recipe, estimator, boosting.pools(ready, held, preparation), curve)
    else:
        scored = made.way == "batches" or (stepwise.is_scored(estimator) and not recipe.calibrate)
        late = _first(validation, of, labels, preparation) if scored and curve else None
        told = (stepwise.watched(task, ready, late), curve) if curve else None
        estimator, more = _learned(of, estimator, made, ready, told)
    notes = [*more, *notes[1:]] if recipe.accelerate and more else [*notes, *more]
    model = Model(preparation, columns.target, task, labels, recipe, estimator, _best_iteration(estimator))
    left = [c.name for c in columns.features if c.name not in kept.names]
    if left:
        notes.append(f"left out of the features: {', '.join(left)} (text, or dropped by train.features)")
    return Fitted(model, curves.kept(estimator) or (curve.values if curve else {}), notes)


def _planned(of: preparing.Chosen, cls: type, rows: int, labels: Sequence[Label]) -> Plan:
    """Return how the table is held and fitted."""
    width = sum(columnwise.widths(of.groups, of.categories))
    size = memory.Size(rows, len(of.columns), width, len(labels))
    return memory.plan(of.recipe, cls, size, columnwise.whole_key(of.recipe, of.groups))


def _estimator(recipe: Recipe, task: Task) -> tuple[Any, list[str]]:
    """Return the unfitted estimator, and what is to be said about it."""
    cls = estimators.find(recipe.estimator)
    settings = dict(recipe.hyperparameters)
    estimators.check(recipe.estimator, cls, settings)
    if recipe.resample == "class_weight":
        weight = resampling.class_weight(recipe, cls, task)
        if given := sorted(weight.keys() & settings.keys()):
            raise TrainError(f"{PATH}: train.resample: class_weight sets {given[0]}, and hyperparameters give it too")
        settings |= weight
    estimator = estimators.make(recipe.estimator, settings, recipe.seed)
    if recipe.accelerate:
        estimator, said = estimators.accelerated(estimator)
        return estimator, [said]
    return estimator, []


def _held(
    rows: Rows | None, of: preparing.Chosen, labels: list[Label], preparation: Preparation, made: Plan
) -> tuple[Ready | None, list[str]]:
    """Return validation rows put through the fitted preprocessing, those whose label training has, and a note."""
    if rows is None or not rows.num_rows:
        return None, []
    found = targets.values(rows.read([of.target]), of.target, of.task)
    known, said = targets.known(found, of.task, labels)
    if known is not None and not known.any():
        return None, said
    if made.streamed:
        return preparing.filled(preparation, rows, found, known, made), said
    table = rows.read(preparation.columns)
    if known is not None:
        table, found = table.filter(known), found[known]
    return Ready(preparation.transformed(table), found), said


def _first(rows: Rows | None, of: preparing.Chosen, labels: list[Label], preparation: Preparation) -> Ready | None:
    """Return the first validation rows, to score a curve on; None where they cannot be: the fit does not need them."""
    if rows is None:
        return None
    with suppress(UserError, ValueError, StopIteration):
        some = Held(next(rows.batches([*of.columns, of.target], stepwise.WATCHED)), rows.where)
        return _held(some, of, labels, preparation, Plan("memory", streamed=False, dtype=np.float64))[0]
    return None


def _boosted(recipe: Recipe, estimator: Any, on: Sequence[Any], curve: Curve | None) -> Any:
    """Return CatBoost, fitted."""
    if recipe.calibrate:
        raise TrainError(f"{PATH}: train.calibrate: CatBoost's probabilities are its own; leave calibrate out")
    return boosting.fit(recipe, estimator, on, curve)


def _learned(
    of: preparing.Chosen, estimator: Any, made: Plan, ready: Ready, told: tuple[Watched, Curve] | None
) -> tuple[Any, list[str]]:
    """Return another estimator, fitted, and what is to be said about the fit."""
    if made.way == "batches":
        times = incremental.epochs(of.recipe, estimator)
        said = [f"learned in batches of {incremental.BATCH:,} rows, {times} {'times' if times > 1 else 'time'} over"]
        return incremental.fit(of.recipe, estimator, ready, of.task == "classification", told), said
    estimator = _calibrated(of.recipe, estimator)
    if told is None:
        called(of.recipe, "train", estimator.fit, ready.values, ready.target)
    else:
        stepwise.fit(of.recipe, estimator, ready, *told)
    if not of.recipe.accelerate:
        return estimator, []
    fell = estimators.fell_back(estimator)
    return estimators.plain(estimator), [fell] if fell else []


def _calibrated(recipe: Recipe, estimator: Any) -> Any:
    """Return the estimator, to be calibrated where that is asked for."""
    if not recipe.calibrate:
        return estimator
    if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
        raise TrainError(f"{PATH}: train.calibrate: {recipe.estimator} has no scores of labels to calibrate")
    from sklearn.calibration import CalibratedClassifierCV

    # One estimator on all rows, calibrated by its cross-validated scores.
    return CalibratedClassifierCV(estimator, ensemble=False)


def _best_iteration(estimator: Any) -> int | None:
    """Return the iteration that CatBoost chose by the validation rows; None without them, or for others."""
    best: int | None = estimator.get_best_iteration() if hasattr(estimator, "get_best_iteration") else None
    return best
