"""What a table holds, a few figures for each column: the content of reports/data.json."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tables import Column, connection, literal, quoted

if TYPE_CHECKING:
    import duckdb

TOP = 10  # values of a category or text that are listed
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile(path: Path, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the figures of a Parquet file: rows, columns, repeated rows, and those of each column.

    A row is repeated when all its values stood in an earlier one. Least,
    greatest and mean are those of the finite values; dates are UTC in ISO 8601.
    """
    source = f"read_parquet({literal(path)})"
    names = ", ".join(quoted(c.name) for c in columns)
    with connection() as database:
        rows, different = _row(
            database,
            f"SELECT (SELECT count(*) FROM {source}), (SELECT count(*) FROM (SELECT DISTINCT {names} FROM {source}))",
        )
        tops = {c.name: _top(database, source, c) for c in columns if c.type in ("category", "text")}
        values = iter(_row(database, f"SELECT {', '.join(f for c in columns for f in _figures(c))} FROM {source}"))
        # Several threads add numbers in any order, and so to other last bits.
        database.execute("SET threads=1")
        means = iter(_row(database, f"SELECT NULL, {', '.join(map(_mean, columns))} FROM {source}")[1:])
    described = []
    for column in columns:
        figures = dict(zip(_names(column), values, strict=False))
        described.append(_described(column, rows, figures, next(means), tops.get(column.name)))
    return {"rows": rows, "columns": len(columns), "repeated_rows": rows - different, "by_column": described}


def _row(database: "duckdb.DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    """Return the one row of a query."""
    row: tuple[Any, ...] = database.execute(query).fetchone() or ()
    return row


def _names(column: Column) -> list[str]:
    """Return what `_figures` are called."""
    more = {"integer": ["min", "max"], "date": ["min", "max"], "number": ["min", "max", "infinite"]}
    return ["values", "distinct", *more.get(column.type, [])]


def _figures(column: Column) -> list[str]:
    """Return the aggregates of a column, whose value does not depend on the order of rows."""
    name = quoted(column.name)
    figures = [f"count({name})", f"count(DISTINCT {name})"]
    if column.type == "integer":
        figures += [f"min({name})", f"max({name})"]
    elif column.type == "date":
        figures += [f"min(epoch_us({name}))", f"max(epoch_us({name}))"]
    elif column.type == "number":
        finite = f"FILTER (isfinite({name}))"
        figures += [f"min({name}) {finite}", f"max({name}) {finite}", f"count(*) FILTER (isinf({name}))"]
    return figures


def _mean(column: Column) -> str:
    """Return the aggregate of a column's mean; of a date in microseconds."""
    name = quoted(column.name)
    if column.type == "number":
        return f"avg({name}) FILTER (isfinite({name}))"
    if column.type in ("integer", "date"):
        return f"avg({name if column.type == 'integer' else f'epoch_us({name})'})"
    return "NULL"


def _top(database: "duckdb.DuckDBPyConnection", source: str, column: Column) -> list[dict[str, Any]]:
    """Return the values that a text column has most often; of equals, the first in the order of code points."""
    name = quoted(column.name)
    rows = database.execute(
        f"SELECT {name}, count(*) AS n FROM {source} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT {TOP}"
    ).fetchall()
    return [{"value": value, "count": count} for value, count in rows]


def _described(
    column: Column, rows: int, figures: dict[str, Any], mean: Any, top: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return the entry of a column."""
    entry = {
        "name": column.name,
        "type": column.type,
        "missing": rows - figures.pop("values"),
        "distinct": figures.pop("distinct"),
    }
    if top is not None:
        return entry | {"top": top}
    if column.type == "date":
        return entry | {name: _iso(value) for name, value in (figures | {"mean": mean}).items()}
    if not figures.get("infinite"):
        figures.pop("infinite", None)
    return entry | figures | {"mean": mean}


def _iso(microseconds: float | None) -> str | None:
    """Return a time since 1970 as ISO 8601."""
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=round(microseconds))).replace(tzinfo=None).isoformat()
