"""A training script's model as one over tables, where it is certain what it takes and what it says.

Its columns are those of the split by name, or by place where it knows no
names; its labels are those of the target, or evaluate.labels says which.
Anything else is not scored rather than scored wrongly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import foreign, matrices, models, tables
from stages.batches import Part
from stages.foreign import Unscored
from stages.matrices import Preparation
from stages.models import Label, Model, Task
from stages.params import PATH
from stages.recipes import Recipe
from stages.tables import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa


_TRIED = 100  # rows of the test part that a model is tried with


@dataclass(frozen=True)
class _Taken(Preparation):
    """What turns a table into what a script's model takes: a frame of its columns, or their matrix."""

    named: bool = True

    def __call__(self, table: "pa.Table") -> Any:
        """Return the rows of a table as the model takes them."""
        if self.named:
            return table.select(self.columns.names).to_pandas()
        return matrices.matrix(table, self.columns, {})


@dataclass(frozen=True)
class Adapted(Model):
    """A script's model over tables."""

    numbered: bool = False  # its classes are 0, 1, ..., and `labels` what they mean

    @property
    def coded(self) -> bool:
        """Whether the model knows its labels by number only."""
        return self.numbered


def load(
    columns: Columns, labels: list[Label] | None, allow_pickle: bool, folder: Path = models.FOLDER
) -> tuple[Adapted, list[str]]:
    """Return the script's model of a folder as one over the split's rows, and what is to be said of its scores.

    `labels` are what the classes 0, 1, ... of a classifier mean, where they are no labels themselves.

    Raises:
        Unscored: there is none, it is in no form that is read here, or it is not certain how it goes with the split.
        ModelError: the folder is damaged.
    """
    models.check(folder)
    about = foreign.about(folder)
    if not foreign.there(folder):
        raise Unscored(f"{about.script} left no model")
    estimator = foreign.opened(folder, allow_pickle)
    taken, by_name = _columns(estimator, columns)
    known, numbered = _labels(_classes(estimator), labels, columns.target)
    task: Task = "classification" if known else "regression"
    if task == "regression" and columns.target.type not in ("integer", "number"):
        raise Unscored(f"the model predicts numbers, and the target {columns.target.name!r} is a {columns.target.type}")
    preparation = _Taken(taken, {}, None, taken.names, {}, by_name)
    model = Adapted(
        preparation, columns.target, task, known, Recipe(estimator=about.script), estimator, numbered=numbered
    )
    _try(model)
    return model, _notes(about, by_name, taken)


def _try(model: Adapted) -> None:
    """See that a model can predict the first rows of the test part.

    Raises:
        Unscored: it cannot.
    """
    rows = next(Part("test").batches([*model.columns], _TRIED), None)
    if rows is None:
        return
    try:
        values = np.asarray(model.predict(rows))
    except Exception as error:  # whatever a library, or the user's own class, makes of rows it was not made for
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unscored(f"the model cannot predict the rows of {tables.SPLIT}/test: {said}") from None
    if model.labels and (strange := set(values.tolist()) - set(model.labels)):
        raise Unscored(f"the model predicts {_some(sorted(map(str, strange)))}, which is none of its classes")


def _notes(about: foreign.About, by_name: bool, taken: Columns) -> list[str]:
    """Return what whoever reads the scores must know."""
    notes = []
    if not by_name:
        notes.append(f"the model knows no names of columns; it was given, by place: {', '.join(taken.names)}")
    if not about.reads_split:
        notes.append(
            f"{about.script} reads rows of its own, not SM_CHANNEL_TRAIN: some rows of the test part may be among "
            "those that it learned from"
        )
    return notes


def _columns(estimator: Any, columns: Columns) -> tuple[Columns, bool]:
    """Return the columns of the split that a model takes, and whether by name.

    Raises:
        Unscored: it takes others.
    """
    names = _names(estimator)
    by_name = {column.name: column for column in columns if column.role != "target"}
    if names is not None:
        if missing := [name for name in names if name not in by_name]:
            has = ", ".join(columns.features.names)
            raise Unscored(f"the model takes a column {missing[0]!r}, and {tables.SPLIT} has: {has}")
        return Columns(by_name[name] for name in names), True
    features, width = columns.features, getattr(estimator, "n_features_in_", None)
    if width != len(features):
        raise Unscored(f"the model takes {width} columns without names, and {tables.SPLIT} has {len(features)}")
    if odd := [column.name for column in features if column.type not in ("integer", "number")]:
        raise Unscored(f"the model takes a matrix of numbers, and column {odd[0]!r} of {tables.SPLIT} is none")
    return features, False


def _names(estimator: Any) -> list[str] | None:
    """Return the names of the columns that an estimator was fitted on; None where it was a matrix."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = getattr(estimator, "feature_names_", None)  # CatBoost's
    if names is None or list(names) == [str(place) for place in range(len(names))]:
        return None
    return [str(name) for name in names]


def _classes(estimator: Any) -> list[Any]:
    """Return the classes that an estimator tells apart; none where it predicts numbers.

    Raises:
        Unscored: it is neither.
    """
    classes = np.asarray(getattr(estimator, "classes_", []))
    kind = getattr(estimator, "_estimator_type", None)
    if classes.ndim == 1 and len(classes):
        return list(classes.tolist())
    if kind is None:
        from sklearn.base import is_regressor

        kind = "regressor" if is_regressor(estimator) else None
    if kind != "regressor" or not hasattr(estimator, "predict"):
        raise Unscored(f"the model is a {type(estimator).__name__}, neither a classifier nor a regressor")
    return []


def _labels(classes: Sequence[Any], given: list[Label] | None, target: Column) -> tuple[list[Label], bool]:
    """Return the target's labels in the order of the model's classes, and whether the classes are their numbers.

    Raises:
        Unscored: the classes are not the target's.
    """
    if not classes:
        return [], False
    rows = [part.read([target]).column(0) for part in (Part("train"), Part("test")) if part.num_rows]
    there = {value for column in rows for value in column.unique().to_pylist() if value is not None}
    if given is not None:
        if len(given) != len(classes) or classes != list(range(len(classes))):
            raise Unscored(
                f"{PATH}: evaluate.labels names {len(given)} labels, and the model's classes are {_some(classes)}"
            )
        classes = given
    as_text = target.type in ("category", "text")
    labels: list[Label] = [str(label) if as_text else label for label in classes]
    if not (set(labels) <= there or there <= set(labels)):
        raise Unscored(
            f"the model's classes are {_some(classes)}, and the target {target.name!r} of {tables.SPLIT} has "
            f"{_some(sorted(there))}; {PATH}: evaluate.labels lists what the classes 0, 1, ... mean"
        )
    return labels, given is not None


def _some(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
