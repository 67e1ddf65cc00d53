"""What split asks of data/raw.parquet before it deals the rows out."""

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from stages.databases import connection, limit, literal, numbers, quoted
from stages.dealing import Rows
from stages.tables import RAW, ROW, Column, Columns, DataError, missing

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    from numpy.typing import NDArray

_TABLE = f"read_parquet({literal(RAW)})"


class Raw:
    """The raw table's rows with a target: the others are refused, or left out."""

    def __init__(self, columns: Columns, spill: Path) -> None:
        """Begin; `spill` is a folder for what does not fit into memory."""
        self.columns = columns
        self.known = 0  # rows with a target
        self._spill = spill
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Return the table."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        self._open.close()

    @cached_property
    def database(self) -> "duckdb.DuckDBPyConnection":
        """A database, opened by the first question that the file's own figures do not answer: 0.1 s."""
        database = self._open.enter_context(connection(self._spill))
        limit(database, len(self.columns))
        return database

    @property
    def rows(self) -> str:
        """The rows that have a target, in order, as SQL."""
        return f"(FROM {_TABLE} WHERE {quoted(self.columns.target.name)} IS NOT NULL)"

    def leave_out(self, drop: bool) -> int:
        """Return how many rows have no target; these `drop` leaves out.

        Raises:
            DataError: rows have no target and are not to be dropped, or none has one.
        """
        target = self.columns.target.name
        without, total = missing(RAW, target)
        if without == total:
            raise DataError(f"{RAW} has no row with a target {target!r}, of {total} rows")
        if without and not drop:
            raise DataError(
                f"{RAW}: the target {target!r} is missing in {without} of {total} rows; "
                "mend them, or leave them out by split.missing_target: drop"
            )
        self.known = total - without
        return without

    def numbers(self) -> Rows:
        """Return the numbers (known,) of the rows, in order."""
        return numbers(self.database, f"SELECT {ROW} FROM {self.rows}", self.known, "int64")

    def check_whole(self, column: Column) -> None:
        """Refuse a column that split goes by and that has gaps.

        Raises:
            DataError: a value is missing.
        """
        asked = f"SELECT count(*) FILTER ({quoted(column.name)} IS NULL) FROM {self.rows}"
        ((gaps,),) = self.database.execute(asked).fetchall()
        if gaps:
            raise DataError(f"{RAW}: split.{column.role}: {column.name!r} is missing in {gaps} of {self.known} rows")

    def ranks(self, column: Column, descending: bool = False) -> Rows:
        """Return for each row (known,) the rank from 0 of its value among the column's distinct values."""
        order = f"{quoted(column.name)} {'DESC' if descending else 'ASC'}"
        ranked = f"SELECT dense_rank() OVER (ORDER BY {order}) - 1 AS place, {ROW} FROM {self.rows}"
        return numbers(self.database, f"SELECT place FROM ({ranked}) ORDER BY {ROW}", self.known, "int32")

    def points(self, key: Column, seed: int) -> "NDArray[np.float64]":
        """Return each row's point (known,) in [0, 1): the first 52 bits of the SHA-256 of `SEED:KEY`.

        A key is its UTF-8 text; an integer its decimal digits, a date its microseconds since 1970.
        """
        text = f"epoch_us({quoted(key.name)})" if key.type == "date" else quoted(key.name)
        digits = f"substr(sha256('{seed}:' || CAST({text} AS VARCHAR)), 1, 13)"
        drawn = f"SELECT CAST('0x' || {digits} AS BIGINT) FROM {self.rows}"
        values = numbers(self.database, drawn, self.known, "float64")
        values /= 2.0**52
        return values
