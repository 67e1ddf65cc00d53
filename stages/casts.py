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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.databases import aggregates, literal, quoted
from stages.guessing import first_where, guessed
from stages.rules import DATE, DIGITS, INTEGER, NAN, NUMBER, WHOLE, matches, number_rule, plainly_number, with_point
from stages.tables import STORED, Column, DataError, Type

if TYPE_CHECKING:
    import duckdb

# What a query fails with.
MISGUESSED = "trialtree: a value is not of the type that a sample has"
MISFIT = "trialtree: a value is not of the type that params give its column"

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


@dataclass(frozen=True, slots=True)
class Guess:
    """How the types of text cells are told."""

    table: str  # told from: the view itself, or a sample of its rows
    # Makes the view anew, with columns that the parser may take for numbers itself, and returns them.
    parse: Callable[["duckdb.DuckDBPyConnection", Collection[str]], Collection[str]]


def described(database: "duckdb.DuckDBPyConnection", query: str) -> dict[str, str]:
    """Return DuckDB's type of each column of a query, without the parameters of the type."""
    rows = database.execute(f"DESCRIBE {query}").fetchall()
    return {name: type_ if "[" in type_ else type_.split("(")[0] for name, type_, *_ in rows}


def cast(
    database: "duckdb.DuckDBPyConnection",
    source: str,
    forced: Mapping[str, Forced],
    decimal: str = ".",
    guess: Guess | None = None,
) -> tuple[list[Column], str]:
    """Return the columns of the view `source`, and the query of its rows stored as these types.

    The query fails with MISGUESSED at a value that the type guessed from a sample does not fit, and with MISFIT at
    one that is not of the type forced on its column. Text is of type category here; see `Kinds`. A nested or binary
    column is in the query only: an expression may make a column of it.
    """
    if guess:
        guess.parse(database, ())  # as text again, after a guess that was wrong
    natives = described(database, f"FROM {source}")
    types = {name: _KINDS[native] for name, native in natives.items() if native in _KINDS}
    types |= _too_large(database, source, [name for name, native in natives.items() if native in _LARGE])
    types |= {name: forced[name].type for name in forced}
    stored: dict[str, str] = {}
    if guess:
        asked = [name for name in types if name not in forced]
        types |= guessed(database, guess.table, asked, decimal)
        if guess.table != source:
            numbers = [name for name in asked if types[name] == "number"]
            natives |= dict.fromkeys(guess.parse(database, numbers), "DOUBLE")
            stored = _doubted(database, guess.table, [name for name in asked if types[name] == "category"])
    for name, type_ in types.items():
        its = forced.get(name)
        stored.setdefault(name, _stored(quoted(name), natives[name], its or type_, decimal, _failing(its)))
    query = ", ".join(f"{stored.get(name, quoted(name))} AS {quoted(name)}" for name in natives)
    return [Column(name, types[name]) for name in natives if name in types], f"SELECT {query} FROM {source}"


def _failing(forced: Forced | None) -> str:
    """Return the SQL that ends a query at a value which is not of its column's type."""
    return f"error({literal(MISFIT if forced else MISGUESSED)})"


def _doubted(database: "duckdb.DuckDBPyConnection", sample: str, names: Sequence[str]) -> dict[str, str]:
    """Return the SQL of those text columns that a sample cannot tell to be text: without values, or of digits only."""
    if not names:
        return {}
    cells = [quoted(name) for name in names]
    values = dict(zip(names, aggregates(database, sample, [f"count({c})" for c in cells]), strict=True))
    other = [f"count({c}) FILTER (NOT {matches(c, DIGITS)})" for c in cells]
    others = dict(zip(names, aggregates(database, sample, other), strict=True))
    found = {}
    for name in names:
        cell = quoted(name)
        known = f"{cell} IS NULL" + (f" OR {matches(cell, DIGITS)}" if values[name] else "")
        if not others[name]:
            found[name] = f"CASE WHEN {known} THEN {cell} ELSE {_failing(None)} END"
    return found


def _too_large(database: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str]) -> dict[str, Type]:
    """Return number for those columns of large integers that 64 bits do not hold."""
    if not names:
        return {}
    counts = [f"count({quoted(n)}) - count(TRY_CAST({quoted(n)} AS BIGINT))" for n in names]
    found = aggregates(database, source, counts)
    return {name: "number" for name, count in zip(names, found, strict=True) if count}


def _stored(cell: str, native: str, its: Type | Forced, decimal: str, fail: str) -> str:
    """Return the SQL of a cell as its type is stored; `fail` is that of a text which is not of the type."""
    type_ = its.type if isinstance(its, Forced) else its
    if native == "TIMESTAMP WITH TIME ZONE":
        cell = f"make_timestamp(epoch_us({cell}))"  # UTC
    if type_ in ("category", "text"):
        return cell if native == "VARCHAR" else f"CAST({cell} AS VARCHAR)"
    if type_ == _KINDS.get(native):
        value = f"CAST({cell} AS {STORED[type_]})"
        return f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END" if type_ == "number" else value
    return _parsed(cell if native == "VARCHAR" else f"CAST({cell} AS VARCHAR)", its, decimal, fail)


def _parsed(text: str, its: Type | Forced, decimal: str, fail: str) -> str:
    """Return the SQL of a text as an integer, a number or a date: by a quick way, else by the rule, else `fail`."""
    forced = its if isinstance(its, Forced) else None
    type_ = forced.type if forced else its
    if type_ == "date":
        moment = f"make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"
        quick = f"CASE WHEN {matches(text, DATE)} THEN {moment} END"
        if forced is not None and forced.format is not None:
            quick = f"make_timestamp(epoch_us(TRY_STRPTIME({text}, {literal(forced.format)})))"
        return f"COALESCE({quick}, CASE WHEN {text} IS NOT NULL THEN {fail} END)"
    number = with_point(text, decimal)
    if type_ == "integer":
        value = f"TRY_CAST({text} AS BIGINT)"
        quick = f"CASE WHEN CAST({value} AS VARCHAR) = {text} THEN {value} END"
        rule = matches(text, INTEGER)
        if forced:  # 1.0 may be asked to be an integer, 1.5 not
            rule, value = matches(number, WHOLE), f"TRY_CAST(split_part({number}, '.', 1) AS BIGINT)"
        return f"COALESCE({quick}, CASE WHEN {rule} THEN {value} END, CASE WHEN {text} IS NOT NULL THEN {fail} END)"
    value = f"TRY_CAST({number} AS DOUBLE)"
    quick = f"CASE WHEN {plainly_number(number)} THEN {value} END"
    rule = f"{matches(number, NUMBER)} AND NOT isnan({value})" if forced else number_rule(text, decimal)
    other = f"{text} IS NOT NULL" if forced else f"NOT {matches(text, NAN)}"
    slow = f"CASE WHEN {rule} AND NOT isnan({value}) THEN {value} WHEN {other} THEN {fail} END"
    return f"COALESCE({quick}, {slow})"


def check_forced(
    database: "duckdb.DuckDBPyConnection", source: str, forced: Mapping[str, Forced], decimal: str = "."
) -> None:
    """Raise DataError for the first value that is not of the type forced on its column."""
    if not forced:
        return
    natives = described(database, f"FROM {source}")
    wrong = {
        name: f"{quoted(name)} IS NOT NULL AND ({_stored(quoted(name), natives[name], its, decimal, 'NULL')}) IS NULL"
        for name, its in forced.items()
    }
    counts = aggregates(database, source, [f"count(*) FILTER ({w})" for w in wrong.values()])
    for name, count in zip(wrong, counts, strict=True):
        if count:
            row, value = first_where(database, source, name, wrong[name])
            pattern = f" ({forced[name].format})" if forced[name].format else ""
            raise DataError(
                f"params.yaml: fetch.types.{name}: must be {forced[name].type}{pattern}, row {row} (from 0) holds "
                f"{value!r}{f' and {count - 1} more do not fit' if count > 1 else ''}"
            )
