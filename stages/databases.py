"""DuckDB as stages use it: kept to little memory, shut off from extensions, its rows in order and in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray

# What DuckDB may hold, in MB: some for itself, and for each thread a file's buffers and some rows of each column.
_MEMORY = 60
_MEMORY_A_THREAD = 120
_MEMORY_A_COLUMN = 0.25

_AT_ONCE = 100  # aggregates of a query


def quoted(name: str) -> str:
    """Return a column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return a text or path as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


@contextmanager
def connection(spill: Path | None = None) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Yield an empty in-memory DuckDB that keeps the order of rows and loads no extension.

    It holds little in memory whatever a table's length: what is more goes into the folder `spill`, where one is given.
    """
    import duckdb

    settings = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "preserve_insertion_order": "true",
        "enable_progress_bar": "true",  # counted for `progress.watched`
        "enable_progress_bar_print": "false",
        "streaming_buffer_size": "32MB",  # so that threads go on while a batch is written
        "disabled_optimizers": "common_subexpressions",  # its time grows with the square of the number of columns
        "TimeZone": "UTC",
    }
    if spill is not None:
        settings |= {"temp_directory": str(spill)}
    database = duckdb.connect(":memory:")
    try:
        for name, value in settings.items():
            database.execute(f"SET {name}={literal(value)}")
        if spill is not None:
            limit(database)
        yield database
    finally:
        database.close()


def limit(database: "duckdb.DuckDBPyConnection", columns: int = 0) -> None:
    """Let a database hold no more in memory than it takes to work on a table of so many columns."""
    threads = database.execute("SELECT current_setting('threads')").fetchall()[0][0]
    megabytes = _MEMORY + threads * (_MEMORY_A_THREAD + _MEMORY_A_COLUMN * columns)
    database.execute(f"SET memory_limit='{megabytes:.0f}MB'")


def batches(database: "duckdb.DuckDBPyConnection", query: str, rows: int = 16_384) -> "Iterator[pa.RecordBatch]":
    """Yield a query's rows in order, as they are found, at most `rows` at a time.

    Raises:
        duckdb.Error: the query cannot be run, or not to its end.
    """
    import duckdb

    try:
        # A cursor, because the connection may still have rows of another query to give.
        yield from database.cursor().sql(query).to_arrow_reader(rows)
    except OSError as error:  # what becomes of DuckDB's own errors on their way through Arrow
        kind = str(error).split(":", 1)[0]
        kinds = {"IO Error": duckdb.IOException, "Out of Memory Error": duckdb.OutOfMemoryException}
        raise kinds.get(kind, duckdb.InvalidInputException)(str(error)) from None


def numbers(database: "duckdb.DuckDBPyConnection", query: str, rows: int, dtype: str) -> "NDArray[Any]":
    """Return the one column (rows,) of a query that gives so many integers or floats of 64 bits, none missing."""
    import numpy as np

    from stages.arrays import to_numpy

    values = np.empty(rows, dtype)
    place = 0
    for batch in batches(database, query, 65_536):
        column = batch.column(0)
        found = to_numpy(column, {"double": "float64"}.get(str(column.type), str(column.type)))
        values[place : place + len(found)] = found
        place += len(found)
    if place != rows:
        raise RuntimeError(f"{query} gave {place} rows instead of {rows}")
    return values


def aggregates(
    database: "duckdb.DuckDBPyConnection", source: str, asked: Sequence[str], at_once: int = _AT_ONCE
) -> list[Any]:
    """Return the values of aggregates over a table, in as many queries as it takes.

    DuckDB's time and memory for one query grow with the square of the number of its aggregates.
    """
    found: list[Any] = []
    for start in range(0, len(asked), at_once):
        found += database.execute(f"SELECT {', '.join(asked[start : start + at_once])} FROM {source}").fetchall()[0]
    return found
