"""Cross-validation and the learning curve: the recipe fitted again on parts of the train part.

Folds never see the validation part, so an estimator that boosts runs all its
iterations in them: no early stopping.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import UserError
from stages.growing import Growing
from stages.params import PATH
from stages.tables import SPLIT, Column, Columns, DataError

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
    `labels` (rows,), or KFold where there are none, and each row that equals an
    earlier one in features and target moved to that one's fold.

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
    found = [Fold(train, test) for train, test in cuts]
    return found if group or time else _rejoined(found, _firsts(table, columns))


def _rejoined(of: Sequence[Fold], firsts: "Rows") -> list[Fold]:
    """Return the folds with each row scored in that of the first of its kind; `firsts` (rows,) are positions.

    Raises:
        DataError: a fold is left without a row.
    """
    fold_of = np.empty(len(firsts), np.int64)
    for number, fold in enumerate(of):
        fold_of[fold.test] = number
    fold_of = fold_of[firsts]
    if empty := len(of) - len(np.unique(fold_of)):
        raise DataError(
            f"{PATH}: evaluate.cross_validation.folds: equal rows share a fold, and {empty} of {len(of)} would have "
            f"no row; train has {len(np.unique(firsts))} different rows, so take fewer folds"
        )
    return [Fold(np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)) for number in range(len(of))]


def _firsts(table: "pa.Table", columns: Columns) -> "Rows":
    """Return for each row (rows,) the position of the first row that equals it in features and target."""
    import pyarrow as pa

    kinds = np.zeros(table.num_rows, np.int64)
    for column in columns:
        if column.role in ("feature", "target"):
            codes = _codes(table, column)
            kinds = _places(pa.array(kinds * (codes.max() + 1) + codes))
            if kinds.max() + 1 == table.num_rows:
                break  # no two are equal, whatever the other columns hold
    firsts: Rows = np.unique(kinds, return_index=True)[1][kinds]
    return firsts


def cross_validated(columns: Columns, table: "pa.Table", of: Sequence[Fold], trial: Trial) -> Iterator[Record]:
    """Yield a record for each fold: its number from 1, rows fitted on, rows scored, and their metrics.

    Raises:
        DataError: the rows of a fold cannot be fitted.
    """
    for number, fold in enumerate(of, start=1):
        try:
            (metrics,) = trial(table.take(fold.train), [table.take(fold.test)])
        except UserError as error:
            where = f"{PATH}: evaluate.cross_validation: fold {number} of {len(of)}{_way(columns)}"
            raise DataError(f"{where}: {_reason(error)}") from None
        yield {"fold": number, "rows_train": len(fold.train), "rows": len(fold.test)} | metrics


def written(path: Path, records: Iterable[Record], names: Sequence[str]) -> list[Record]:
    """Return the records, each written to a CSV file as it comes; at the end the file has what all of them have."""
    done: list[Record] = []

    def table() -> tuple[list[str], list[list[float | None]]]:
        kept = [name for name in names if any(name in record for record in done)]
        header = ["fold", "rows_train", "rows", *kept] if done else ["fold"]
        return header, [[record.get(name) for name in header] for record in done]

    with Growing(path) as file:
        header: list[str] = []
        for record in records:
            done.append(record)
            if not header:
                header = table()[0]
                file.add([header])
            file.add([[record.get(name) for name in header]])
        file.finish(*table())
    return done


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


def arrival(columns: Columns, fold: Fold, seed: int) -> "Rows":
    """Return the places among a fold's rows to fit on in which a learning curve takes them.

    Shuffled with `seed`; the oldest first where folds are in time order.
    """
    count = len(fold.train)
    in_time = columns.role("time") and not columns.role("group")
    return np.arange(count) if in_time else np.random.RandomState(seed).permutation(count)


def learning_curve(
    table: "pa.Table", fold: Fold, order: "Rows", points: int, trial: Trial
) -> tuple[list[Point], list[str]]:
    """Return the metrics of fits on growing numbers of a fold's rows, in `points` equal steps, and a note.

    Rows are taken in `order`, their places among those that the fold fits on. A
    point whose rows cannot be fitted is left out; the note names all of them.
    """
    held_out = table.take(fold.test)
    curve: list[Point] = []
    left: dict[int, str] = {}
    steps = np.linspace(0, len(order), points + 1).round().astype(int)
    for rows in np.unique(steps[steps > 0]).tolist():
        # The fold's own order, so that the last point is the fold's fit.
        some = table.take(fold.train[np.sort(order[:rows])])
        try:
            curve.append(Point(rows, *trial(some, [some, held_out])))
        except UserError as error:
            left[rows] = _reason(error)
    sizes = ", ".join(map(str, left))
    notes = [f"evaluate.learning_curve: left out at {sizes} rows: {next(iter(left.values()))}"] if left else []
    return curve, notes


def _way(columns: Columns) -> str:
    """Return in words why the folds are not shuffled, to go behind a fold's number."""
    if columns.role("group"):
        return " (whole groups, because of split.group)"
    return " (in time order, because of split.time)" if columns.role("time") else ""


def _reason(error: UserError) -> str:
    """Return what is said of rows to fit on; they are only some of the train part."""
    return str(error).removeprefix(f"{SPLIT}/train: ")


def _enough(count: int, most: int, of: str) -> None:
    if count > most:
        raise DataError(
            f"{PATH}: evaluate.cross_validation.folds: must be at most the {most} {of} in train, got {count}"
        )


def _codes(table: "pa.Table", column: Column) -> "Rows":
    """Return the place of each row's value among the distinct ones; a gap is a value, and -0 is 0."""
    import pyarrow.compute as pc

    values = table.column(column.name).combine_chunks()
    return _places(pc.add(values, 0.0) if column.type == "number" else values)


def _places(values: "pa.Array") -> "Rows":
    """Return the place of each value among the distinct ones, in order of appearance."""
    indices = values.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(), dtype=np.int64)


def _times(table: "pa.Table", column: Column) -> "Rows":
    import pyarrow as pa

    values = table.column(column.name)
    times: Rows = (values.cast(pa.int64()) if column.type == "date" else values).to_numpy()
    return times
