"""What a model says of the rows of a table, beside what was there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import hashes, models, progress, tables, targets
from stages.batches import Rows
from stages.errors import UserError
from stages.files import writing
from stages.models import Label, Model, ModelError
from stages.scores import Predicted
from stages.tables import ROW, Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa


class PredictionError(UserError):
    """Rows that an estimator refuses to predict."""


def check(model: Model, columns: Columns) -> None:
    """Refuse a model that was fitted on other columns than these.

    Raises:
        ModelError: a column or the target is not there, or of another type.
    """
    has = {c.name: c.type for c in columns}
    for column in (*model.columns, model.target):
        if has.get(column.name) != column.type:
            found = f"is of type {has[column.name]}" if column.name in has else "is not there"
            raise ModelError(
                f"{models.FOLDER} takes {column.name!r} as {column.type}, and in {tables.SPLIT} it {found}; "
                "`dvc repro train` fits it anew"
            )
    if columns.target.name != model.target.name:
        raise ModelError(
            f"{models.FOLDER} predicts {model.target.name!r}, and the target of {tables.SPLIT} is "
            f"{columns.target.name!r}; `dvc repro train` fits it anew"
        )


def predicted(
    model: Model, table: "pa.Table", positive: Label | None = None, where: str = f"{tables.SPLIT}/test"
) -> Predicted:
    """Return the model's predictions of a table's rows; `positive` is the label that metrics of two labels are of.

    Raises:
        PredictionError: the estimator refuses the rows; the message begins with `where`, what they are.
    """
    rows = _called(model, model.prepared, table, table, where) if _leaves_rows(model) else table
    values = _called(model, model.predict, rows, table, where)
    probabilities = _called(model, model.probabilities, rows, table, where)
    return Predicted(
        actual=targets.values(table, model.target, model.task),
        # Estimators give texts as objects, or as numpy's texts of one length.
        predicted=values.astype(str) if model.target.type in ("category", "text") else values,
        labels=model.labels,
        positive=positive,
        probabilities=probabilities,
        decision=_called(model, model.decision, rows, table, where) if probabilities is None else None,
    )


def _leaves_rows(model: Model) -> bool:
    """Whether an estimator changes nothing in the rows that it is given, which then are prepared once."""
    return model.recipe.estimator.startswith(("sklearn.", "catboost."))


def _called(model: Model, method: Callable[[Any], Any], rows: Any, table: "pa.Table", where: str) -> Any:
    """Call the model, and say in one line what a library refuses; the user's own estimator keeps its traceback."""
    try:
        return method(rows)
    except Exception as error:
        refused = isinstance(error, ValueError) or type(error).__name__ == "CatBoostError"
        if model.recipe.estimator.startswith("stages.") or not refused:
            raise
        if names := _infinite(model, table):
            raise PredictionError(
                f"{where}: column {names[0]!r} holds infinite values; mend them, or make them gaps: fetch.derive"
            ) from error
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PredictionError(f"{where}: {model.recipe.estimator} cannot predict: {said}") from error


def _infinite(model: Model, table: "pa.Table") -> list[str]:
    """Return the names of the model's columns that hold an infinite value."""
    import pyarrow.compute as pc

    numbers = (c.name for c in model.columns if c.type == "number")
    return [name for name in numbers if pc.any(pc.is_inf(table.column(name))).as_py()]


def as_table(model: Model, table: "pa.Table", rows: Predicted) -> "pa.Table":
    """Return row, row_hash (of the values that the model takes), actual, predicted and p_<label> of each row."""
    import pyarrow as pa

    columns = {
        tables.ROW: table.column(tables.ROW),
        "row_hash": pa.array(hashes.row_hashes(table, model.columns), pa.string()),
        "actual": pa.array(rows.actual),
        "predicted": pa.array(rows.predicted),
    }
    if rows.probabilities is not None:
        columns |= {f"p_{label}": pa.array(rows.probabilities[:, i].copy()) for i, label in enumerate(model.labels)}
    return pa.table(columns)


def of_rows(model: Model, rows: Rows, positive: Label | None = None, path: Path | None = None) -> Predicted:
    """Return the model's predictions, made a batch at a time; `path` is a file for them, a row group a batch.

    Raises:
        PredictionError: the estimator refuses the rows.
        DataError: a file of theirs is damaged, or there is no row.
    """
    taken = [*model.columns, model.target]
    numbered = [] if path is None or ROW in model.columns.names else [Column(ROW, "integer", "row")]
    found, done = [], 0
    with _written(path) as write, progress.step(f"predict {rows.where}", rows.num_rows) as report:
        for table in rows.batches([*numbered, *taken]):
            some = predicted(model, table, positive, rows.where)
            if write:
                write(as_table(model, table, some))
            found.append(some)
            done += table.num_rows
            report(done)
    return found[0] if len(found) == 1 else _joined(found)


@contextmanager
def _written(path: Path | None) -> "Iterator[Callable[[pa.Table], None] | None]":
    """Yield a function that writes tables to a Parquet file, one after the other; None without a path."""
    if path is None:
        yield None
        return
    import pyarrow.parquet as pq

    with writing(path) as file, ExitStack() as stack:
        writers: list[pq.ParquetWriter] = []

        def write(table: "pa.Table") -> None:
            if not writers:
                writers.append(stack.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd")))
            writers[0].write_table(table)

        yield write


def _joined(found: Sequence[Predicted]) -> Predicted:
    """Return the predictions of several batches as one."""

    def joined(name: str) -> Any:
        values = [getattr(some, name) for some in found]
        return None if values[0] is None else np.concatenate(values)

    arrays = {name: joined(name) for name in ("actual", "predicted", "probabilities", "decision")}
    return replace(found[0], **arrays)
