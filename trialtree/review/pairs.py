"""What two models said of the same rows: the stored predictions of both test parts, matched.

A row is known again by its number where both trials fetch the same source.
Else by the hash of the values that the models take; by the columns that both
tables have; or by its number, where both tables have as many rows and each the
same target: whichever finds most. Among equal rows their order decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages import scores, tables
from stages.databases import connection, literal, quoted
from stages.errors import UserError
from stages.scores import Label, Predicted
from stages.tables import ROW, Column
from trialtree.review import bootstrap, rowwise

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

_HASH = "row_hash || ' ' || actual::VARCHAR"  # equal rows of other targets are other rows
_MARK = "p_"  # how the column of a label's probability begins


class PairsError(UserError):
    """Predictions that cannot be compared."""


@dataclass(frozen=True)
class Pairs:
    """The rows of both test parts, and what each side says of them."""

    base: Predicted  # of the shared rows, in head's order
    head: Predicted
    rows: tuple[int, int]  # of the whole test parts
    known: str  # how the rows were known again, in words
    relabelled: int  # rows that both have, with another target each: they are left out

    @property
    def shared(self) -> int:
        """The number of rows that are compared."""
        return len(self.head.actual)

    @property
    def same_test(self) -> bool:
        """Whether both test parts are the same rows."""
        return self.rows == (self.shared, self.shared)


def read(path: Path, positive: bool | float | str | None = None) -> Predicted:
    """Return the predictions of a file that evaluate wrote.

    Raises:
        PairsError: it is damaged, holds nothing, or `positive` is none of its labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise PairsError(f"reports/predictions.parquet is damaged: {str(error).splitlines()[0]}") from None
    if not table.num_rows:
        raise PairsError("reports/predictions.parquet has no rows: the model was not scored")
    if lacks := [name for name in (ROW, "row_hash", "actual", "predicted") if name not in table.column_names]:
        raise PairsError(f"reports/predictions.parquet has no column {lacks[0]}")
    _check(table)
    actual, predicted = (_values(table, name) for name in ("actual", "predicted"))
    marked = [name for name in table.column_names if name.startswith(_MARK)]
    classes = bool(marked) or actual.dtype.kind != "f" or predicted.dtype.kind != "f"
    labels = _labels(actual, predicted, [name.removeprefix(_MARK) for name in marked]) if classes else []
    marks = np.column_stack([table.column(name).to_numpy() for name in marked]) if marked else None
    try:
        of = scores.positive(positive, labels)
    except scores.ScoreError as error:
        raise PairsError(str(error)) from None
    return Predicted(actual, predicted, labels, of, marks)


def _check(table: "pa.Table") -> None:
    """Refuse columns that evaluate does not write."""
    import pyarrow as pa

    for field in table.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        fits = {ROW: pa.types.is_integer(field.type), "row_hash": text}.get(
            field.name, number or (text and not field.name.startswith(_MARK)) or pa.types.is_boolean(field.type)
        )
        if not fits or table.column(field.name).null_count:
            raise PairsError(f"reports/predictions.parquet is damaged: {field.name} is not what evaluate writes")


def _values(table: "pa.Table", name: str) -> Array:
    values: Array = table.column(name).to_numpy()
    return values.astype(str) if values.dtype == object else values


def _labels(actual: Array, predicted: Array, names: Sequence[str]) -> list[Label]:
    """Return the labels in the model's order: as the columns are named, typed as they stand in the rows."""
    there: list[Label] = np.unique(np.concatenate([actual, predicted])).tolist()
    known = {str(label): label for label in there}
    if not names:
        return there
    kind = type(there[0])
    return [known[name] if name in known else kind(name) for name in names]


def match(
    base: Path,
    head: Path,
    *,
    same_source: bool,
    positive: bool | float | str | None = None,
    splits: tuple[Path, Path] | None = None,
) -> Pairs:
    """Return the predictions of two files on the rows that both have.

    Args:
        base: base's predictions.
        head: head's predictions.
        same_source: whether both trials fetch the same source, so that numbers tell rows.
        positive: the label that metrics of two labels are of.
        splits: base's and head's split, where they are here; by them rows are told where the models take other columns.

    Raises:
        PairsError: a file cannot be used, they are of different tasks, or have no row in common.
    """
    before, after = read(base, positive), read(head, positive)
    if before.task != after.task:
        raise PairsError(f"base predicts {scores.outcome(before.labels)}, head {scores.outcome(after.labels)}")
    rows = (len(before.actual), len(after.actual))
    known, here, there = _paired(base, head, same_source=same_source, splits=splits)
    if not len(here):
        other = "" if splits else "; with the data here (`--pull`) they are compared by the columns that both have"
        raise PairsError(f"the test parts, of {rows[0]:,} and {rows[1]:,} rows, have no row in common{other}")
    same = before.actual[here] == after.actual[there]
    if not same.any():
        raise PairsError("no row that both test parts have is of the same target")
    return Pairs(
        bootstrap.taken(before, here[same]), bootstrap.taken(after, there[same]), rows, known, int((~same).sum())
    )


def _paired(base: Path, head: Path, *, same_source: bool, splits: tuple[Path, Path] | None) -> tuple[str, Array, Array]:
    """Return how rows are known again, and where those of both stand in each, by the way that finds most."""
    best: tuple[str, Array, Array] = "", np.empty(0, np.int64), np.empty(0, np.int64)
    for known, keys in _keys(base, head, same_source=same_source, splits=splits):
        here, there = _places(*keys)
        if len(here) > len(best[1]):
            best = known, here, there
    return best


def _keys(
    base: Path, head: Path, *, same_source: bool, splits: tuple[Path, Path] | None
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield ways to know rows again, each in words and as the queries of both sides' keys and places."""
    column = "SELECT {0} AS key, file_row_number AS place FROM read_parquet({1}, file_row_number=true)"
    by_number = "by their number", (column.format(ROW, literal(base)), column.format(ROW, literal(head)))
    if same_source:
        yield by_number
        return
    yield (
        "by the values that the models take",
        (column.format(_HASH, literal(base)), column.format(_HASH, literal(head))),
    )
    if splits is not None:
        columns = rowwise.shared(*(tables.read_columns(folder) for folder in splits))
        if not rowwise.tells_rows(*splits):
            columns = []
        one, other = (_by_values(path, folder, columns) for path, folder in zip((base, head), splits, strict=True))
        if one and other:
            yield "by the values of the columns that both have", (one, other)
        if rowwise.same_targets(*splits):
            yield by_number


def _by_values(path: Path, split: Path, columns: Sequence[Column]) -> str | None:
    """Return the query of a hash of some columns of each predicted row, the target's too; None without any."""
    source = rowwise.parts_source(split, "test")
    if source is None or not columns:
        return None
    hashed = ", ".join(quoted(column.name) for column in columns)
    return (
        f"SELECT value AS key, file_row_number AS place FROM read_parquet({literal(path)}, file_row_number=true) "
        f"JOIN (SELECT {quoted(ROW)} AS {ROW}, hash({hashed}) AS value FROM {source}) USING ({ROW})"
    )


def _places(base: str, head: str) -> tuple[Array, Array]:
    """Return where the rows of equal keys stand on each side, each paired once, in the order of the second."""
    numbered = "SELECT *, row_number() OVER (PARTITION BY key ORDER BY place) AS nth FROM ({})"
    with connection() as database:
        found = database.execute(
            f"SELECT b.place AS here, h.place AS there FROM ({numbered.format(base)}) b "
            f"JOIN ({numbered.format(head)}) h USING (key, nth) ORDER BY h.place"
        ).fetchnumpy()
    return np.asarray(found["here"], dtype=np.int64), np.asarray(found["there"], dtype=np.int64)
