"""What a table holds, a few figures for each column: the content of reports/data.json."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.databases import aggregates, connection, limit, literal, quoted
from stages.files import scratch
from stages.progress import watched
from stages.tables import MANY, Column, raw_distinct, raw_means, raw_repeated, rows_in

if TYPE_CHECKING:
    import duckdb

TOP = 10  # values of a category or text that are listed
_DISTINCT_AT_ONCE = 25  # columns whose different values a query counts
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile(path: Path, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the figures of a raw table: rows, columns, repeated rows, and those of each column.

    A row is repeated when all its values stood in an earlier one. Least,
    greatest and mean are those of the finite values; dates are UTC in ISO 8601.
    Of a table of more than a million rows, different values are counted
    roughly where they are many, which `approximate` says: of numbers and dates
    with a standard error of 1.6 %, of texts one of 3 % (as measured, by DuckDB).
    """
    source = f"read_parquet({literal(path)})"
    rows, means = rows_in(path), raw_means(path)
    distinct = raw_distinct(path)
    with scratch(path) as folder, connection(folder.resolve()) as database, watched(database, "describing rows", rows):
        limit(database, len(columns))
        tops = {c.name: _top(database, source, c) for c in columns if c.type in ("category", "text")}
        figures = _figures(database, source, columns)
        distinct |= _distinct(database, source, [c.name for c in columns if c.name not in distinct], rows)
    entries = (
        _described(c, rows, figures[c.name] | {"distinct": distinct[c.name]}, means.get(c.name), tops.get(c.name))
        for c in columns
    )
    return {
        "rows": rows,
        "columns": len(columns),
        "repeated_rows": raw_repeated(path),
        **({"approximate": ["distinct"]} if rows > MANY else {}),
        "by_column": list(entries),
    }


def _figures(
    database: "duckdb.DuckDBPyConnection", source: str, columns: Sequence[Column]
) -> dict[str, dict[str, Any]]:
    """Return of each column how many values it has, the least and the greatest, and how many are infinite."""
    found = _aggregated(database, source, {c.name: _ends(c) for c in columns})
    # Infinite values are rare, and to look at each value for them takes as long as all the rest.
    endless = [c for c in columns if c.type == "number" and not all(map(_is_finite, _both(found[c.name])))]
    for name, values in _aggregated(database, source, {c.name: _finite(c) for c in endless}).items():
        found[name] |= values
    return found


def _distinct(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], rows: int) -> dict[str, int]:
    """Return how many different values columns have; roughly, where the rows are many."""
    large = rows > MANY
    asked = [f"approx_count_distinct({name})" if large else f"count(DISTINCT {name})" for name in map(quoted, names)]
    # All values of a query's columns are held at once.
    at_once = max(1, min(_DISTINCT_AT_ONCE, MANY // max(rows, 1)))
    return dict(zip(names, aggregates(database, source, asked, at_once), strict=True))


def _aggregated(
    database: "duckdb.DuckDBPyConnection", source: str, asked: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return the values of aggregates, by column and name."""
    values = iter(aggregates(database, source, [sql for of in asked.values() for sql in of.values()]))
    return {column: {name: next(values) for name in of} for column, of in asked.items()}


def _ends(column: Column) -> dict[str, str]:
    """Return the aggregates of a column that Parquet's own statistics answer, by name."""
    name = quoted(column.name)
    ends = {"min": f"min({name})", "max": f"max({name})"} if column.type in ("integer", "date", "number") else {}
    if column.type == "date":
        ends = {key: f"epoch_us({end})" for key, end in ends.items()}
    return {"values": f"count({name})", **ends}


def _finite(column: Column) -> dict[str, str]:
    """Return the aggregates of a column of numbers some of which are infinite."""
    name = quoted(column.name)
    finite = f"FILTER (isfinite({name}))"
    return {"min": f"min({name}) {finite}", "max": f"max({name}) {finite}", "infinite": f"count_if(isinf({name}))"}


def _both(figures: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return figures["min"], figures["max"]


def _is_finite(value: float | None) -> bool:
    return value is None or isfinite(value)


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
    if mean is not None:
        figures["min"] += 0  # Parquet's statistics have -0 for 0
        mean = min(max(mean, figures["min"]), figures["max"])  # sums are rounded
    if column.type == "date":
        return entry | {name: _iso(value) for name, value in (figures | {"mean": mean}).items()}
    return entry | figures | {"mean": mean}


def _iso(microseconds: float | None) -> str | None:
    """Return a time since 1970 as ISO 8601."""
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=round(microseconds))).replace(tzinfo=None).isoformat()
