"""Tell the types of text cells from their values, and say what may have been meant otherwise."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stages.databases import aggregates, quoted
from stages.rules import DATE, DIGITS, INTEGER, NUMBER, matches, number_rule, with_point
from stages.tables import Column, Type

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SAMPLE = 1000  # rows by which a text is ruled out as nearly a number before all rows are asked
FEW = 50  # different values that always make a category
MANY = 1000  # different values that never do
NEARLY = 0.95  # share of numbers in a column that is probably meant to be one
ENOUGH = 20  # values by which that is told
REPEATS = 5  # rows for each different value, from FEW to MANY

_GUESSED: tuple[Type, ...] = ("integer", "number", "date")


def first_is_odd(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], decimal: str) -> str | None:
    """Return a text column whose values are all numbers but the first row's."""
    number = [f"count(*) FILTER ({matches(with_point(quoted(name), decimal), NUMBER)})" for name in names]
    numbers = aggregates(database, source, number)
    present = aggregates(database, source, [f"count({quoted(name)})" for name in names])
    columns = zip(names, numbers, present, strict=True)
    return next((name for name, count, values in columns if count and count == values - 1), None)


def nearly_numbers(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], decimal: str) -> list[str]:
    """Return a line for each text column nearly all of whose values are numbers, with either decimal sign."""
    other = "," if decimal == "." else "."
    lines = []
    # A column that is far from it in the sample is not asked about in all rows.
    likely = _not_numbers(database, f"(FROM {source} LIMIT {SAMPLE})", names, decimal, other)
    asked = [name for name, (values, *wrong) in likely.items() if 2 * min(wrong) <= values]
    for name, (values, wrong, by_other) in _not_numbers(database, source, asked, decimal, other).items():
        count = f"{name}: {values - min(wrong, by_other)} of {values} values"
        if values < ENOUGH or min(wrong, by_other) > values * (1 - NEARLY):
            continue
        if by_other < wrong:
            lines.append(f"{count} would be numbers with fetch.decimal: {other!r}")
        elif wrong:
            row, value = first_where(database, source, name, f"NOT ({number_rule(quoted(name), decimal)})")
            lines.append(f"{count} are numbers, row {row} (from 0) holds {value!r}; see fetch.missing or fetch.types")
    return lines


def _not_numbers(
    database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], *decimals: str
) -> dict[str, tuple[int, ...]]:
    """Return of each text column how many values it has, and how many are no numbers with each decimal sign."""
    width = 1 + len(decimals)
    figures = [
        figure for n in map(quoted, names) for figure in (f"count({n})", *(_faults(n, "number", d) for d in decimals))
    ]
    counts = aggregates(database, source, figures)
    return {name: tuple(counts[i * width : (i + 1) * width]) for i, name in enumerate(names)}


def first_where(database: "duckdb.DuckDBPyConnection", source: str, name: str, condition: str) -> tuple[int, str]:
    """Return the number and the text of the first row for which a condition holds."""
    # No star: a name that is made up here may be a column's.
    values = f"CAST({quoted(name)} AS VARCHAR), {condition}, row_number() OVER () - 1 FROM {source}"
    found = f"SELECT row, value FROM (SELECT {values}) AS found(value, held, row) WHERE held ORDER BY row LIMIT 1"
    row: tuple[int, str] = database.execute(found).fetchone() or (0, "")
    return row


def guessed(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], decimal: str) -> dict[str, Type]:
    """Return the types of text columns by their values."""
    possible = _without_faults(
        database, f"(FROM {source} LIMIT {SAMPLE})", dict.fromkeys(names, _GUESSED), _faults, decimal
    )
    found: dict[str, Type] = {}
    while possible:
        found |= {name: "category" for name, types in possible.items() if not types}
        first = {name: types[:1] for name, types in possible.items() if types}
        held = _without_faults(database, source, first, _faults_of_all, decimal)
        found |= {name: types[0] for name, types in held.items() if types}
        possible = {name: possible[name][1:] for name, types in held.items() if not types}
    return found


def _without_faults(
    database: "duckdb.DuckDBPyConnection",
    source: str,
    asked: Mapping[str, Sequence[Type]],
    faults: Callable[[str, Type, str], str],
    decimal: str,
) -> dict[str, Sequence[Type]]:
    """Return those of the types asked about against which no value of a column speaks."""
    pairs = [(name, type_) for name, types in asked.items() for type_ in types]
    counts = aggregates(database, source, [faults(quoted(name), type_, decimal) for name, type_ in pairs])
    held = {pair for pair, count in zip(pairs, counts, strict=True) if not count}
    return {name: [t for t in types if (name, t) in held] for name, types in asked.items()}


def _faults(cell: str, type_: Type, decimal: str) -> str:
    """Return the aggregate of how many values of a text column are not of a type."""
    if type_ == "integer":
        right = f"{matches(cell, INTEGER)} AND TRY_CAST({cell} AS BIGINT) IS NOT NULL"
    elif type_ == "date":
        right = f"{matches(cell, DATE)} AND TRY_CAST({cell} AS TIMESTAMPTZ) IS NOT NULL"
    else:
        right = number_rule(cell, decimal)
    return f"count({cell}) FILTER (NOT ({right}))"


def _faults_of_all(cell: str, type_: Type, decimal: str) -> str:
    """Return `_faults`, and one where it takes all values: there is none, or all are whole and too large."""
    names = f"count({cell}) FILTER ({matches(cell, DIGITS)})" if type_ == "number" else "0"
    return f"{_faults(cell, type_, decimal)} + ({names} = count({cell}))::INTEGER"


class Kinds:
    """Tells texts from categories by how many different values they have, as rows go by."""

    def __init__(self, columns: Sequence[Column], forced: Collection[str]) -> None:
        """Begin, without rows."""
        self._columns = columns
        self._rows = 0
        self._seen: dict[str, set[str]] = {c.name: set() for c in columns if c.type == "category"}
        for name in self._seen.keys() & set(forced):
            del self._seen[name]

    def see(self, batch: "pa.RecordBatch") -> None:
        """Count rows."""
        self._rows += batch.num_rows
        for name, seen in self._seen.items():
            if len(seen) <= MANY:
                seen.update(batch.column(name).unique().drop_null().to_pylist())

    def distinct(self) -> dict[str, int]:
        """Return how many different values columns have, of those that have not too many for a category."""
        return {name: len(seen) for name, seen in self._seen.items() if len(seen) <= MANY}

    def columns(self) -> list[Column]:
        """Return the columns, with their types by the rows seen."""
        texts = {
            name
            for name, seen in self._seen.items()
            if not (0 < len(seen) <= FEW or (0 < len(seen) <= MANY and len(seen) * REPEATS <= self._rows))
        }
        return [replace(c, type="text") if c.name in texts else c for c in self._columns]
