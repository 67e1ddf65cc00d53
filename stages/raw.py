"""What split asks of data/raw.parquet before it deals the rows out.

Only rows with a target count: the others are refused, or left out.
"""

from typing import TYPE_CHECKING

from stages.databases import literal, numbers, quoted
from stages.dealing import Rows
from stages.tables import RAW, ROW, Column, Columns, DataError

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    from numpy.typing import NDArray

_TABLE = f"read_parquet({literal(RAW)})"


def usable(database: "duckdb.DuckDBPyConnection", columns: Columns, drop: bool) -> tuple[int, int]:
    """Return how many rows have a target, and how many have none; these `drop` leaves out.

    Raises:
        DataError: rows have no target and are not to be dropped, or none has one.
    """
    target = columns.target.name
    total, known = _row(database, f"SELECT count(*), count({quoted(target)}) FROM {_TABLE}")
    if not known:
        raise DataError(f"{RAW} has no row with a target {target!r}, of {total} rows")
    if total > known and not drop:
        raise DataError(
            f"{RAW}: the target {target!r} is missing in {total - known} of {total} rows; "
            "mend them, or leave them out by split.missing_target: drop"
        )
    return known, total - known


def row_numbers(database: "duckdb.DuckDBPyConnection", columns: Columns, known: int) -> Rows:
    """Return the numbers (known,) of the rows that have a target, in order."""
    return numbers(database, f"SELECT {ROW} FROM {known_rows(columns)}", known, "int64")


def check_whole(database: "duckdb.DuckDBPyConnection", columns: Columns, column: Column) -> None:
    """Refuse a column that split goes by and that has gaps.

    Raises:
        DataError: a value is missing.
    """
    gap = f"count(*) FILTER ({quoted(column.name)} IS NULL)"
    gaps, total = _row(database, f"SELECT {gap}, count(*) FROM {known_rows(columns)}")
    if gaps:
        raise DataError(f"{RAW}: split.{column.role}: {column.name!r} is missing in {gaps} of {total} rows")


def ranks(
    database: "duckdb.DuckDBPyConnection", columns: Columns, column: Column, known: int, descending: bool = False
) -> Rows:
    """Return for each of the `known` rows (known,) the rank from 0 of its value among the column's distinct values."""
    order = f"{quoted(column.name)} {'DESC' if descending else 'ASC'}"
    ranked = f"SELECT dense_rank() OVER (ORDER BY {order}) - 1 AS place, {ROW} FROM {known_rows(columns)}"
    return numbers(database, f"SELECT place FROM ({ranked}) ORDER BY {ROW}", known, "int32")


def points(
    database: "duckdb.DuckDBPyConnection", columns: Columns, key: Column, known: int, seed: int
) -> "NDArray[np.float64]":
    """Return each row's point (known,) in [0, 1): the first 52 bits of the SHA-256 of `SEED:KEY`.

    A key is its UTF-8 text; an integer its decimal digits, a date its microseconds since 1970.
    """
    text = f"epoch_us({quoted(key.name)})" if key.type == "date" else quoted(key.name)
    digits = f"substr(sha256('{seed}:' || CAST({text} AS VARCHAR)), 1, 13)"
    drawn = f"SELECT CAST('0x' || {digits} AS BIGINT) FROM {known_rows(columns)}"
    values = numbers(database, drawn, known, "float64")
    values /= 2.0**52
    return values


def known_rows(columns: Columns) -> str:
    """Return the rows that have a target, in order, as SQL."""
    return f"(FROM {_TABLE} WHERE {quoted(columns.target.name)} IS NOT NULL)"


def _row(database: "duckdb.DuckDBPyConnection", sql: str) -> tuple[int, ...]:
    """Return the one row of a query."""
    row: tuple[int, ...] = database.execute(sql).fetchall()[0]
    return row
