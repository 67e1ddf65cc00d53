"""The target of a table as an estimator takes it, and the labels it has."""

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.models import Label, Task
from stages.params import PATH
from stages.recipes import TrainError
from stages.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]


def values(table: "pa.Table", target: Column, task: Task) -> Array:
    """Return the target (rows,): text labels as str, whole numbers as int, the target of a regression as float64."""
    column = table.column(target.name)
    if target.type in ("category", "text"):
        # A text for each distinct one: a row's own would take a hundred bytes.
        coded = column.dictionary_encode(null_encoding="encode").combine_chunks()
        texts: Array = np.asarray(coded.dictionary.to_pylist() or [""], dtype=str)
        labels: Array = texts[coded.indices.to_numpy(zero_copy_only=False)]
        return labels
    dtype = np.int64 if task == "classification" and target.type == "integer" else np.float64
    return np.asarray(column.to_numpy(), dtype=dtype)


def learnable(table: "pa.Table", target: Column, task: Task, estimator: str) -> Array:
    """Return the target after refusing one that the estimator cannot learn."""
    if table.num_rows == 0:
        raise TrainError("data/split/train has no row to train on")
    column = table.column(target.name)
    gaps = column.null_count
    if target.type == "number":
        gaps = int(np.isnan(column.to_numpy()).sum())  # a gap is NaN there too
    if gaps:
        raise TrainError(f"data/split/train: the target {target.name!r} is missing in {gaps} of {table.num_rows} rows")
    if target.type == "date" or (task == "regression" and target.type in ("category", "text")):
        does = "numbers" if task == "regression" else "classes"
        raise TrainError(
            f"{PATH}: train.estimator: {estimator} predicts {does}, and the target {target.name!r} is a {target.type}"
        )
    found = values(table, target, task)
    if task == "classification" and target.type == "number" and np.any(found % 1):
        raise TrainError(
            f"{PATH}: train.estimator: {estimator} predicts classes, and the target {target.name!r} has fractions; "
            "take a regressor, or make the target a category: fetch.types"
        )
    return found


def labels_of(target: Array, task: Task, column: Column) -> list[Label]:
    """Return the labels in order; none for a regression."""
    if task == "regression":
        return []
    labels: list[Label] = np.unique(target).tolist()
    if len(labels) < 2:
        raise TrainError(f"data/split/train: the target {column.name!r} is {labels[0]!r} in all {len(target)} rows")
    return labels


def known(found: Array, task: Task, labels: list[Label]) -> tuple[Array | None, list[str]]:
    """Return which validation rows (rows,) have a label that training has, None for all, and what to say of others."""
    seen = np.isin(found, labels) if task == "classification" else np.ones(1, dtype=bool)
    if seen.all():
        return None, []
    strange = ", ".join(map(repr, np.unique(found[~seen]).tolist()))
    return seen, [f"validation rows of a label that train lacks ({strange}) do not choose the iteration"]
