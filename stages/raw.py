"""What split asks of data/raw.parquet before it deals the rows out.

Only rows with a target count: the others are refused, or left out.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.dealing import Rows
from stages.tables import RAW, ROW, Column, Columns, DataError, literal, quoted

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

_TABLE = f"read_parquet({literal(RAW)})"


def usable(database: "duckdb.DuckDBPyConnection", columns: Columns, drop: bool) -> tuple[Rows, int]:
    """Return the numbers of the rows that have a target, in order, and how many have none; these `drop` leaves out.

    Raises:
        DataError: rows have no target and are not to be dropped, or none has one.
    """
    target = columns.target.name
    total, known = query(database, f"SELECT count(*), count({quoted(target)}) FROM {_TABLE}")
    missing = int(total[0] - known[0])
    if not known[0]:
        raise DataError(f"{RAW} has no row with a target {target!r}, of {total[0]} rows")
    if missing and not drop:
        raise DataError(
            f"{RAW}: the target {target!r} is missing in {missing} of {total[0]} rows; "
            "mend them, or leave them out by split.missing_target: drop"
        )
    (rows,) = query(database, f"SELECT {ROW} FROM {known_rows(columns)} ORDER BY {ROW}")
    return rows.astype(np.int64), missing


def check_whole(database: "duckdb.DuckDBPyConnection", columns: Columns, column: Column) -> None:
    """Refuse a column that split goes by and that has gaps.

    Raises:
        DataError: a value is missing.
    """
    gap = f"count(*) FILTER ({quoted(column.name)} IS NULL)"
    gaps, total = query(database, f"SELECT {gap}, count(*) FROM {known_rows(columns)}")
    if gaps[0]:
        raise DataError(f"{RAW}: split.{column.role}: {column.name!r} is missing in {gaps[0]} of {total[0]} rows")


def ranks(database: "duckdb.DuckDBPyConnection", columns: Columns, column: Column, descending: bool = False) -> Rows:
    """Return for each row (rows,) the rank from 0 of its value among the column's distinct values."""
    order = f"{quoted(column.name)} {'DESC' if descending else 'ASC'}"
    ranked = f"SELECT dense_rank() OVER (ORDER BY {order}) - 1, {ROW} FROM {known_rows(columns)} ORDER BY {ROW}"
    return query(database, ranked)[0].astype(np.int64)


def points(database: "duckdb.DuckDBPyConnection", columns: Columns, key: Column, seed: int) -> "NDArray[np.float64]":
    """Return each row's point (rows,) in [0, 1): the first 52 bits of the SHA-256 of `SEED:KEY`.

    A key is its UTF-8 text; an integer its decimal digits, a date its microseconds since 1970.
    """
    text = f"epoch_us({quoted(key.name)})" if key.type == "date" else quoted(key.name)
    digits = f"substr(sha256('{seed}:' || CAST({text} AS VARCHAR)), 1, 13)"
    (numbers,) = query(database, f"SELECT CAST('0x' || {digits} AS BIGINT) FROM {known_rows(columns)} ORDER BY {ROW}")
    return numbers / 2.0**52


def known_rows(columns: Columns) -> str:
    """Return the rows that have a target, as SQL."""
    return f"(FROM {_TABLE} WHERE {quoted(columns.target.name)} IS NOT NULL)"


def query(database: "duckdb.DuckDBPyConnection", sql: str) -> "list[NDArray[Any]]":
    """Return the columns of a query's rows."""
    return list(database.sql(sql).fetchnumpy().values())
