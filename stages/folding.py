"""Cross-validation and the learning curve: the recipe fitted again on parts of the train part.

Folds never see the validation part, so an estimator that boosts runs all its
iterations in them: no early stopping.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import UserError
from stages.params import PATH
from stages.tables import Column, Columns, DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

Record = dict[str, float]  # of a fold: fold, rows_train, rows, and its metrics

# Fits on the first table, and returns the metrics of the others.
Trial = Callable[["pa.Table", Sequence["pa.Table"]], list[dict[str, float]]]


@dataclass(frozen=True)
class Fold:
    """The positions in the train part of the rows to fit on and to score."""

    train: "Rows"
    test: "Rows"


def folds(columns: Columns, table: "pa.Table", labels: "NDArray[Any] | None", count: int, seed: int) -> list[Fold]:
    """Return scikit-learn's folds of a table's rows.

    GroupKFold with a column of role group; TimeSeriesSplit over the rows in time
    order with one of role time (a border may part rows of one time); else shuffled with `seed`, StratifiedKFold by
    `labels` (rows,), or KFold where there are none.

    Raises:
        DataError: there are too few rows, groups or rows of a class.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    rows = table.num_rows
    group, time = columns.role("group"), columns.role("time")
    if group:
        codes = _codes(table, group)
        _enough(count, len(np.unique(codes)), f"different values of {group.name!r}")
        cuts = GroupKFold(count).split(codes, groups=codes)
    elif time:
        _enough(count, rows - 1, "rows after the first")
        order = np.argsort(_times(table, time), kind="stable")
        cuts = ((order[train], order[test]) for train, test in TimeSeriesSplit(count).split(order))
    elif labels is not None:
        names, members = np.unique(labels, return_counts=True)
        _enough(count, int(members.min()), f"rows of {names[members.argmin()].item()!r}")
        cuts = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    else:
        _enough(count, rows, "rows")
        cuts = KFold(count, shuffle=True, random_state=seed).split(np.arange(rows))
    return [Fold(train, test) for train, test in cuts]


def cross_validated(table: "pa.Table", of: Sequence[Fold], trial: Trial) -> list[Record]:
    """Return a record for each fold: its number from 1, rows fitted on, rows scored, and their metrics.

    Raises:
        DataError: the rows of a fold cannot be fitted.
    """
    records = []
    for number, fold in enumerate(of, start=1):
        try:
            (metrics,) = trial(table.take(fold.train), [table.take(fold.test)])
        except UserError as error:
            raise DataError(f"evaluate.cross_validation: fold {number} of {len(of)}: {error}") from None
        records.append({"fold": number, "rows_train": len(fold.train), "rows": len(fold.test)} | metrics)
    return records


def summary(records: Sequence[Record], names: Sequence[str]) -> dict[str, float]:
    """Return `<metric>` and `<metric>_std`, mean and standard deviation (ddof 0) over the folds.

    A metric that a fold could not give is left out: its mean would be of other folds.
    """
    result: dict[str, float] = {}
    for name in names:
        if all(name in record for record in records):
            values = [record[name] for record in records]
            result |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
    return result


@dataclass(frozen=True)
class Point:
    """A point of the learning curve."""

    rows: int  # fitted on
    train: dict[str, float]  # metrics on the rows fitted on
    held_out: dict[str, float]  # metrics on the rows that the fold holds back


def learning_curve(table: "pa.Table", fold: Fold, points: int, trial: Trial) -> list[Point]:
    """Return the metrics of fits on growing numbers of a fold's rows, in `points` equal steps, the first rows first."""
    held_out = table.take(fold.test)
    curve = []
    for rows in np.linspace(0, len(fold.train), points + 1)[1:].round().astype(int):
        some = table.take(fold.train[:rows])
        curve.append(Point(int(rows), *trial(some, [some, held_out])))
    return curve


def _enough(count: int, most: int, of: str) -> None:
    if count > most:
        raise DataError(
            f"{PATH}: evaluate.cross_validation.folds: must be at most the {most} {of} in train, got {count}"
        )


def _codes(table: "pa.Table", column: Column) -> "Rows":
    """Return the place of each row's value among the distinct ones."""
    codes: Rows = table.column(column.name).combine_chunks().dictionary_encode().indices.to_numpy()
    return codes


def _times(table: "pa.Table", column: Column) -> "Rows":
    import pyarrow as pa

    values = table.column(column.name)
    times: Rows = (values.cast(pa.int64()) if column.type == "date" else values).to_numpy()
    return times
