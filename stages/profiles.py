"""What a table holds, a few figures for each column: the content of reports/data.json."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.databases import aggregates, connection, limit, literal, quoted
from stages.files import scratch
from stages.progress import watched
from stages.tables import Column, raw_repeated, rows_in

if TYPE_CHECKING:
    import duckdb

TOP = 10  # values of a category or text that are listed
LARGE = 1_000_000  # rows above which different values are counted roughly
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile(path: Path, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the figures of a raw table: rows, columns, repeated rows, and those of each column.

    A row is repeated when all its values stood in an earlier one. Least,
    greatest and mean are those of the finite values; dates are UTC in ISO 8601.
    Of a table of more than a million rows, different values are counted to a
    few per cent, which `approximate` says.
    """
    source = f"read_parquet({literal(path)})"
    rows = rows_in(path)
    large = rows > LARGE
    described = []
    with scratch(path) as folder, connection(folder.resolve()) as database, watched(database, "describing rows", rows):
        limit(database, len(columns))
        tops = {c.name: _top(database, source, c) for c in columns if c.type in ("category", "text")}
        figures = _figures(database, source, columns, large)
        means = _means(database, source, [_mean(column, figures[column.name]) for column in columns])
    for column, mean in zip(columns, means, strict=True):
        described.append(_described(column, rows, figures[column.name], mean, tops.get(column.name)))
    approximate = {"approximate": ["distinct"]} if large else {}
    return {
        "rows": rows,
        "columns": len(columns),
        "repeated_rows": raw_repeated(path),
        **approximate,
        "by_column": described,
    }


def _figures(
    database: "duckdb.DuckDBPyConnection", source: str, columns: Sequence[Column], large: bool
) -> dict[str, dict[str, Any]]:
    """Return of each column the figures that do not depend on the order of rows."""
    found = _aggregated(database, source, {c.name: _aggregates(c, large) for c in columns})
    # Infinite values are rare, and to look at each value for them takes as long as all the rest.
    endless = [c for c in columns if c.type == "number" and not all(map(_is_finite, _ends(found[c.name])))]
    if endless:
        for name, values in _aggregated(database, source, {c.name: _finite(c) for c in endless}).items():
            found[name] |= values
    return found


def _aggregated(
    database: "duckdb.DuckDBPyConnection", source: str, asked: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return the values of aggregates, by column and name."""
    values = iter(aggregates(database, source, [sql for of in asked.values() for sql in of.values()]))
    return {column: {name: next(values) for name in of} for column, of in asked.items()}


def _aggregates(column: Column, large: bool) -> dict[str, str]:
    """Return the aggregates of a column, by name."""
    name = quoted(column.name)
    distinct = f"approx_count_distinct({name})" if large else f"count(DISTINCT {name})"
    value = f"epoch_us({name})" if column.type == "date" else name
    ends = {"min": f"min({value})", "max": f"max({value})"} if column.type in ("integer", "date", "number") else {}
    return {"values": f"count({name})", "distinct": distinct, **ends}


def _finite(column: Column) -> dict[str, str]:
    """Return the aggregates of a column of numbers some of which are infinite."""
    name = quoted(column.name)
    finite = f"FILTER (isfinite({name}))"
    return {"min": f"min({name}) {finite}", "max": f"max({name}) {finite}", "infinite": f"count_if(isinf({name}))"}


def _ends(figures: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return figures["min"], figures["max"]


def _is_finite(value: float | None) -> bool:
    return value is None or isfinite(value)


def _means(database: "duckdb.DuckDBPyConnection", source: str, asked: Sequence[str]) -> list[Any]:
    """Return means, each added up by one thread: several add in any order, and so to other last bits."""
    (threads,) = database.execute("SELECT current_setting('threads')").fetchall()[0]
    database.execute("SET threads=1")  # of a query; each runs in the thread that asks
    size = -(-len(asked) // threads)
    parts = [(database.cursor(), asked[start : start + size]) for start in range(0, len(asked), size)]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(lambda part: aggregates(part[0], source, part[1]), parts)
        return [mean for means in found for mean in means]


def _mean(column: Column, figures: Mapping[str, Any]) -> str:
    """Return the aggregate of a column's mean; of a date in microseconds."""
    name = quoted(column.name)
    if "infinite" in figures:
        return f"avg({name}) FILTER (isfinite({name}))"
    if column.type in ("integer", "date", "number"):
        return f"avg({f'epoch_us({name})' if column.type == 'date' else name})"
    return "any_value(NULL)"


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
    return entry | figures | {"mean": mean}


def _iso(microseconds: float | None) -> str | None:
    """Return a time since 1970 as ISO 8601."""
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=round(microseconds))).replace(tzinfo=None).isoformat()
