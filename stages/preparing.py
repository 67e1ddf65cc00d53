"""Fit the preprocessing on the training rows, and fill the estimator's matrix with them.

A small table is preprocessed whole, as scikit-learn does it. A large one is
read column by column to fit, and batch by batch to fill the one matrix that
the estimator is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages import columnwise, estimators, features, memory, naming, progress
from stages.batches import Rows
from stages.features import Group
from stages.matrices import Matrix, Preparation, matrix
from stages.memory import Plan
from stages.models import Task
from stages.params import PATH
from stages.recipes import Recipe, TrainError
from stages.refusals import called
from stages.steps import Steps
from stages.tables import Column, Columns

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Ready:
    """The rows of a part as the estimator takes them."""

    values: Array  # (rows, outputs)
    target: Array  # (rows,)


@dataclass(frozen=True)
class Chosen:
    """What a recipe takes of a table."""

    recipe: Recipe
    task: Task
    target: Column
    columns: Columns
    groups: list[Group]
    categories: dict[str, list[str]]
    stored: bool = True  # whether the preprocessing is to be saved with the model


def chosen(recipe: Recipe, target: Column, taken: tuple[Columns, list[Group]], rows: Rows) -> Chosen:
    """Return what `features.chosen` takes of a table, with the categories that the training rows have."""
    columns, groups = taken
    texts = [column for column in columns if column.type in ("category", "text")]
    task = estimators.task(estimators.find(recipe.estimator))
    return Chosen(recipe, task, target, columns, groups, {column.name: _levels(rows, column) for column in texts})


def _levels(rows: Rows, column: Column) -> list[str]:
    """Return the distinct texts of a category column, sorted, without the gap."""
    found: set[str | None] = set()
    for table in rows.batches([column]):
        found.update(table.column(0).unique().to_pylist())
    return sorted(text for text in found if text is not None)


def fitted(of: Chosen, rows: Rows, target: Array, made: Plan) -> tuple[Preparation, Ready]:
    """Fit the preprocessing, and return it with the training rows put through it.

    Raises:
        TrainError: no row is left, or the preprocessing refuses a column.
    """
    if made.streamed:
        return _by_column(of, rows, target, made)
    return _whole(of, rows, target)


def _whole(of: Chosen, rows: Rows, target: Array) -> tuple[Preparation, Ready]:
    """Fit and transform all rows at once."""
    values = np.empty((rows.num_rows, len(of.columns)))
    start = 0
    for table in rows.batches(of.columns):
        values[start : start + table.num_rows] = matrix(table, of.columns, of.categories)
        start += table.num_rows
    kept = features.whole_rows(values, of.groups)
    _refuse_none(kept)
    if not kept.all():
        values, target = values[kept], target[kept]
    transformer = _unfitted(of, values)
    try:
        seen = called(of.recipe, "train.features", transformer.fit_transform, values, target)
    except TrainError as error:
        raise _with_infinite(error, of.columns, values) from error
    return _preparation(of, transformer), Ready(seen, target)


def _unfitted(of: Chosen, values: Matrix) -> Any:
    """Return what preprocesses the matrix; of a few rows, and not to be saved, its steps alone."""
    if of.stored or values.size >= memory.STREAMED or of.recipe.features.pca is not None:
        return features.preprocessing(of.recipe, of.task == "regression", of.groups, of.categories)
    return Steps(features.parts(of.recipe, of.task == "regression", of.groups, of.categories))


def _by_column(of: Chosen, rows: Rows, target: Array, made: Plan) -> tuple[Preparation, Ready]:
    """Fit each column by itself, then fill the matrix in batches."""
    kept = _kept(of, rows)

    def fit(unfitted: Any, place: int) -> Any:
        column = of.columns[place]
        values = _column(of, rows, column)
        values = values if kept is None else values[kept]
        try:
            return called(of.recipe, "train.features", unfitted.fit, values)
        except TrainError as error:
            raise _with_infinite(error, [column], values) from error

    transformer = columnwise.fitted(of.recipe, of.task == "regression", of.groups, of.categories, fit)
    preparation = _preparation(of, transformer)
    return preparation, filled(preparation, rows, target, kept, made)


def filled(preparation: Preparation, rows: Rows, target: Array, kept: Mask | None, made: Plan) -> Ready:
    """Return rows put through a fitted preprocessing, a batch at a time; those of `kept` (rows,), or all."""
    count = rows.num_rows if kept is None else int(kept.sum())
    values = memory.empty((count, len(preparation.outputs)), made)
    read = start = 0
    with progress.step(f"read {rows.where}", rows.num_rows) as report:
        for table in rows.batches(preparation.columns):
            of = slice(read, read + table.num_rows)
            some = preparation.transformed(table if kept is None else table.filter(kept[of]))
            # What is too large for float32 becomes infinite, as it does in the estimators that take float32.
            with np.errstate(over="ignore"):
                values[start : start + len(some)] = some
            read, start = of.stop, start + len(some)
            report(read)
    memory.released()
    return Ready(values, target if kept is None else target[kept])


def _kept(of: Chosen, rows: Rows) -> Mask | None:
    """Return which rows (rows,) training keeps, None for all."""
    places = [place for group in of.groups if group.treatment.impute == "drop_rows" for place in group.places]
    if not places:
        return None
    kept = np.ones(rows.num_rows, dtype=bool)
    for place in places:
        kept &= ~np.isnan(_column(of, rows, of.columns[place])[:, 0])
    _refuse_none(kept)
    return kept


def _column(of: Chosen, rows: Rows, column: Column) -> Matrix:
    """Return one column (rows, 1)."""
    values = np.empty((rows.num_rows, 1))
    start = 0
    with progress.step(f"read {column.name}", rows.num_rows) as report:
        for table in rows.batches([column]):
            values[start : start + table.num_rows] = matrix(table, [column], of.categories)
            start += table.num_rows
            report(start)
    return values


def _preparation(of: Chosen, transformer: Any) -> Preparation:
    """Return the fitted preprocessing with the names of what it gives."""
    outputs = naming.outputs(transformer, of.groups, of.categories)
    return Preparation(of.columns, of.categories, transformer, outputs, naming.natives(of.groups, outputs))


def _refuse_none(kept: Mask) -> None:
    if not kept.any():
        raise TrainError(f"{PATH}: train.features: impute: drop_rows leaves no row to train on")


def _with_infinite(error: TrainError, columns: Sequence[Column], values: Matrix) -> TrainError:
    """Return an error with the names of the columns that hold infinite values."""
    infinite = [repr(c.name) for place, c in enumerate(columns) if np.isinf(values[:, place]).any()]
    return TrainError(f"{error} (infinite: {', '.join(infinite)})" if infinite else str(error))
