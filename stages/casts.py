"""Decide the type of each column by rules over all of its values, and say how it is cast.

Cells of a CSV file, in this order:

integer   every value is a whole number of 64 bits without leading zeros
number    every value is a decimal number (inf and nan too); whole numbers too large for 64 bits, and
          any digits with a leading zero (007), are no numbers but names
date      every value is an ISO 8601 date, or date and time; with an offset it becomes UTC
category  at most 50 different values, or at most 1000 and each five times on average
text      any other, and a column without any value

A typed column, of Parquet or derived, keeps its kind; text in it is category or text as above.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stages.tables import STORED, Column, DataError, Type, literal, quoted

if TYPE_CHECKING:
    import duckdb

SAMPLE = 1000  # rows by which a type is ruled out before all rows are asked
FEW = 50  # different values that always make a category
MANY = 1000  # different values that never do
NEARLY = 0.95  # share of numbers in a column that is probably meant to be one
ENOUGH = 20  # values by which that is told
REPEATS = 5  # rows for each different value, from FEW to MANY

_INTEGER = r"[+-]?(0|[1-9]\d*)"
_WHOLE = r"[+-]?\d+(\.0*)?"
_NUMBER = r"(?i)[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)"
_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
_GUESSED: tuple[Type, ...] = ("integer", "number", "date")

_LARGE = ("UBIGINT", "HUGEINT", "UHUGEINT")  # integers that 64 bits may not hold, sums of integers among them
# DuckDB's types; those that are not here cannot be a column.
_KINDS: dict[str, Type] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "integer"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "number"),
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "date"),
    "TIMESTAMP WITH TIME ZONE": "date",
    **dict.fromkeys(_LARGE, "integer"),
    **dict.fromkeys(("VARCHAR", "ENUM", "UUID", "BOOLEAN", "TIME", '"NULL"'), "category"),
}


@dataclass(frozen=True, slots=True)
class Forced:
    """The type that params.yaml gives a column; `format` is that of a date (strptime), None for ISO 8601."""

    type: Type
    format: str | None = None


def described(database: "duckdb.DuckDBPyConnection", query: str) -> dict[str, str]:
    """Return DuckDB's type of each column of a query, without the parameters of the type."""
    rows = database.execute(f"DESCRIBE {query}").fetchall()
    return {name: type_ if "[" in type_ else type_.split("(")[0] for name, type_, *_ in rows}


def cast(
    database: "duckdb.DuckDBPyConnection",
    source: str,
    forced: Mapping[str, Forced],
    decimal: str = ".",
    guess: bool = False,
) -> tuple[list[Column], str]:
    """Return the columns of the view `source`, and the query of its rows stored as these types.

    `guess`: the cells are those of a CSV file, all text. Text is of type category here; see `settled`.
    A nested or binary column is in the query only: an expression may make a column of it.

    Raises:
        DataError: a value is not of the type forced on its column.
    """
    natives = described(database, f"FROM {source}")
    types = {name: _KINDS[native] for name, native in natives.items() if native in _KINDS}
    types |= _too_large(database, source, [name for name, native in natives.items() if native in _LARGE])
    types |= {name: forced[name].type for name in forced}
    if guess:
        types |= _guessed(database, source, [name for name in types if name not in forced], decimal)
    stored = {name: _stored(quoted(name), natives[name], types[name], forced.get(name), decimal) for name in types}
    _check_forced(database, source, {name: stored[name] for name in forced}, forced)
    query = ", ".join(f"{stored.get(name, quoted(name))} AS {quoted(name)}" for name in natives)
    return [Column(name, types[name]) for name in natives if name in types], f"SELECT {query} FROM {source}"


def _too_large(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str]) -> dict[str, Type]:
    """Return number for those columns of large integers that 64 bits do not hold."""
    if not names:
        return {}
    counts = ", ".join(f"count({quoted(n)}) - count(TRY_CAST({quoted(n)} AS BIGINT))" for n in names)
    found = database.execute(f"SELECT {counts} FROM {source}").fetchone() or ()
    return {name: "number" for name, count in zip(names, found, strict=True) if count}


def settled(
    database: "duckdb.DuckDBPyConnection", source: str, columns: Sequence[Column], forced: Mapping[str, Forced]
) -> list[Column]:
    """Return the columns with texts told from categories, by how many different values they have."""
    texts = [c for c in columns if c.type == "category" and c.name not in forced]
    if not texts:
        return list(columns)
    counts = ", ".join(f"count(DISTINCT {quoted(c.name)})" for c in texts)
    rows, *distinct = database.execute(f"SELECT count(*), {counts} FROM {source}").fetchone() or ()
    repeats = {
        c.name: 0 < n <= FEW or (0 < n <= MANY and n * REPEATS <= rows) for c, n in zip(texts, distinct, strict=True)
    }
    return [c if repeats.get(c.name, True) else replace(c, type="text") for c in columns]


def _stored(cell: str, native: str, type_: Type, forced: Forced | None, decimal: str) -> str:
    """Return the SQL of a cell as its type is stored; NULL where a value is not of a forced type."""
    if native == "TIMESTAMP WITH TIME ZONE":
        cell = f"make_timestamp(epoch_us({cell}))"  # UTC
    if type_ in ("category", "text"):
        return cell if native == "VARCHAR" else f"CAST({cell} AS VARCHAR)"
    if type_ == _KINDS.get(native):
        value = f"CAST({cell} AS {STORED[type_]})"
        return f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END" if type_ == "number" else value
    return _parsed(cell if native == "VARCHAR" else f"CAST({cell} AS VARCHAR)", type_, forced, decimal)


def _parsed(text: str, type_: Type, forced: Forced | None, decimal: str) -> str:
    """Return the SQL of a text as an integer, a number or a date."""
    if type_ == "date":
        moment = f"TRY_CAST({text} AS TIMESTAMPTZ)"
        if forced is None:
            return f"make_timestamp(epoch_us({moment}))"
        if forced.format is not None:
            return f"make_timestamp(epoch_us(TRY_STRPTIME({text}, {literal(forced.format)})))"
        return f"CASE WHEN {_matches(text, _DATE)} THEN make_timestamp(epoch_us({moment})) END"
    number = _with_point(text, decimal)
    if type_ == "integer":
        # 1.0 may be asked to be an integer, 1.5 not.
        whole = f"TRY_CAST(split_part({number}, '.', 1) AS BIGINT)"
        return f"CASE WHEN {_matches(number, _WHOLE)} THEN {whole} END" if forced else f"CAST({text} AS BIGINT)"
    value = f"TRY_CAST({number} AS DOUBLE)"
    if forced is None:
        return f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
    return f"CASE WHEN {_matches(number, _NUMBER)} AND NOT isnan({value}) THEN {value} END"


def _check_forced(
    database: "duckdb.DuckDBPyConnection", source: str, stored: Mapping[str, str], forced: Mapping[str, Forced]
) -> None:
    """Raise DataError for the first value that is not of the type forced on its column."""
    if not stored:
        return
    wrong = {name: f"{quoted(name)} IS NOT NULL AND ({value}) IS NULL" for name, value in stored.items()}
    counts = database.execute(f"SELECT {', '.join(f'count(*) FILTER ({w})' for w in wrong.values())} FROM {source}")
    for name, count in zip(wrong, counts.fetchone() or (), strict=True):
        if count:
            row, value = _first(database, source, name, wrong[name])
            pattern = f" ({forced[name].format})" if forced[name].format else ""
            raise DataError(
                f"params.yaml: fetch.types.{name}: must be {forced[name].type}{pattern}, row {row} (from 0) holds "
                f"{value!r}{f' and {count - 1} more do not fit' if count > 1 else ''}"
            )


def is_number(text: str, decimal: str = ".") -> bool:
    """Say whether a text is a number by the rules of a CSV file's cells."""
    return re.fullmatch(_NUMBER, text.replace(decimal, ".") if "." not in text else text) is not None


def first_is_odd(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], decimal: str) -> str | None:
    """Return a text column whose values are all numbers but the first row's, by the rows of the sample."""
    numbers = (f"count(*) FILTER ({_matches(_with_point(quoted(name), decimal), _NUMBER)})" for name in names)
    present = (f"count({quoted(name)})" for name in names)
    counts = database.execute(
        f"SELECT {', '.join((*numbers, *present))} FROM (FROM {source} LIMIT {SAMPLE})"
    ).fetchone()
    halves = zip(names, (counts or ())[: len(names)], (counts or ())[len(names) :], strict=True)
    return next((name for name, number, values in halves if number and number == values - 1), None)


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
            row, value = _first(database, source, name, f"NOT ({_is_number(quoted(name), decimal)})")
            lines.append(f"{count} are numbers, row {row} (from 0) holds {value!r}; see fetch.missing or fetch.types")
    return lines


def _not_numbers(
    database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], *decimals: str
) -> dict[str, tuple[int, ...]]:
    """Return of each text column how many values it has, and how many are no numbers with each decimal sign."""
    if not names:
        return {}
    figures = [f"count({quoted(n)}), {', '.join(_faults(quoted(n), 'number', d) for d in decimals)}" for n in names]
    counts = database.execute(f"SELECT {', '.join(figures)} FROM {source}").fetchone() or ()
    width = 1 + len(decimals)
    return {name: counts[i * width : (i + 1) * width] for i, name in enumerate(names)}


def _first(database: "duckdb.DuckDBPyConnection", source: str, name: str, condition: str) -> tuple[int, str]:
    """Return the number and the text of the first row for which a condition holds."""
    # No star: a name that is made up here may be a column's.
    values = f"CAST({quoted(name)} AS VARCHAR), {condition}, row_number() OVER () - 1 FROM {source}"
    found = f"SELECT row, value FROM (SELECT {values}) AS found(value, held, row) WHERE held ORDER BY row LIMIT 1"
    row: tuple[int, str] = database.execute(found).fetchone() or (0, "")
    return row


def _guessed(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], decimal: str) -> dict[str, Type]:
    """Return the types of text columns by their values."""
    sample = f"(FROM {source} LIMIT {SAMPLE})"
    possible = _without_faults(database, sample, dict.fromkeys(names, _GUESSED), _faults, decimal)
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
    if not pairs:
        return {}
    counted = ", ".join(faults(quoted(name), type_, decimal) for name, type_ in pairs)
    counts = database.execute(f"SELECT {counted} FROM {source}").fetchone() or ()
    held = {pair for pair, count in zip(pairs, counts, strict=True) if not count}
    return {name: [t for t in types if (name, t) in held] for name, types in asked.items()}


def _faults(cell: str, type_: Type, decimal: str) -> str:
    """Return the aggregate of how many values of a text column are not of a type."""
    if type_ == "integer":
        right = f"{_matches(cell, _INTEGER)} AND TRY_CAST({cell} AS BIGINT) IS NOT NULL"
    elif type_ == "date":
        right = f"{_matches(cell, _DATE)} AND TRY_CAST({cell} AS TIMESTAMPTZ) IS NOT NULL"
    else:
        right = _is_number(cell, decimal)
    return f"count({cell}) FILTER (NOT ({right}))"


def _is_number(cell: str, decimal: str) -> str:
    return f"{_matches(_with_point(cell, decimal), _NUMBER)} AND NOT {_matches(cell, '[+-]?0[0-9]+')}"


def _faults_of_all(cell: str, type_: Type, decimal: str) -> str:
    """Return `_faults`, and one where it takes all values: there is none, or all are whole and too large."""
    names = f"count({cell}) FILTER ({_matches(cell, '[+-]?[0-9]+')})" if type_ == "number" else "0"
    return f"{_faults(cell, type_, decimal)} + ({names} = count({cell}))::INTEGER"


def _matches(cell: str, pattern: str) -> str:
    return f"regexp_full_match({cell}, {literal(pattern)})"


def _with_point(cell: str, decimal: str) -> str:
    """Return a number's text with a decimal point; a text that has both signs stays as it is, and is none."""
    return cell if decimal == "." else f"CASE WHEN contains({cell}, '.') THEN 'no' ELSE replace({cell}, ',', '.') END"
