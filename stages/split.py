"""Deal a table's rows out to train, validation and test.

    python -m stages.split

Reads   data/raw.parquet
Writes  data/split/columns.json, data/split/report.json,
        data/split/{train,validation,test}/part-*.parquet (or .csv)

Every row goes to exactly one part and keeps its row number from the raw table.
The same table and params give the same bytes.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from stages import command, dealing, params, parts, tables
from stages.dealing import Parts, Rows
from stages.files import replacing_folder, write_json
from stages.tables import RAW, ROW, Column, Columns, DataError, literal, quoted

if TYPE_CHECKING:
    import duckdb

# The column that each way of dealing goes by.
_NEEDED = {"group": "group", "time": "time", "hash": "key"}


def _share_or_count(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a share of all rows such as 0.25, or a number of rows")
    if isinstance(value, float) and not value < 1:
        raise ValueError("must be less than 1 as a share of all rows, or a whole number of rows")
    if value < 0:
        raise ValueError("must not be negative")
    return value


# Shares are floats below 1, numbers of rows are integers; 0 is none.
Amount = Annotated[int | float, BeforeValidator(_share_or_count)]


class Files(params.Section):
    """Number of files of each part."""

    train: int = Field(default=1, ge=1)
    validation: int = Field(default=1, ge=1)
    test: int = Field(default=1, ge=1)


class SplitParams(params.Section):
    """The split section."""

    target: str  # column to predict
    validation: Amount = 0  # share of all rows, or rows
    test: Amount  # share of all rows, or rows
    seed: int = Field(default=0, ge=0, lt=2**32)
    by: Literal["random", "stratified", "group", "time", "hash"] = "random"
    group: str | None = None  # column whose equal values stay in one part
    time: str | None = None  # column by which the oldest rows train and the newest test
    key: str | None = None  # column that names a record, for `by: hash`
    files: Files = Files()
    format: Literal["parquet", "csv"] = "parquet"
    duplicates: Literal["together", "keep"] = "together"  # equal rows in one part (random and stratified)
    missing_target: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> Self:
        if not self.test:
            raise ValueError("test must be more than 0, to leave rows to score the model on")
        shares = isinstance(self.validation, float) and isinstance(self.test, float)
        if shares and self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test must be under 1, to leave rows to train on, got {self.validation} + {self.test}"
            )
        return self

    @model_validator(mode="after")
    def _know_what_it_goes_by(self) -> Self:
        needed = _NEEDED.get(self.by)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"by: {self.by} needs `{needed}`, the name of a column")
        for name in ("validation", "test"):
            amount = getattr(self, name)
            if self.by == "hash" and isinstance(amount, int) and amount:
                raise ValueError(f"by: hash deals by shares of all rows, and {name}: {amount} is a number of rows")
        named: dict[str, str] = {}
        for role in ("target", "group", "time", "key"):
            column = getattr(self, role)
            if column in named:
                raise ValueError(f"{named[column]} and {role} must be different columns, got {column!r} for both")
            if column is not None:
                named[column] = role
        return self


def assigned(columns: Columns, p: SplitParams) -> Columns:
    """Return the raw table's columns with the roles that params give them.

    Raises:
        DataError: a column is not there, or its type does not suit the role.
    """
    roles: dict[str, tables.Role] = {}
    for role in ("target", "group", "time", "key"):
        name = getattr(p, role)
        if name is None:
            continue
        column = columns.named(name, str(RAW))
        key = f"{params.PATH}: split.{role}: {name!r} is"
        if column.role == "row":
            raise DataError(f"{key} the row number; name a column of the table")
        if role == "time" and column.type in ("category", "text"):
            raise DataError(f"{key} of type {column.type}, and a time is a date or a number; see fetch.types")
        if role == "key" and p.by == "hash" and column.type == "number":
            raise DataError(f"{key} of type number, and a key is an integer, category, text or date; see fetch.types")
        roles[name] = role
    result = columns.with_roles(roles)
    if not result.features:
        raise DataError(f"{RAW} has no column to learn from beside {', '.join(roles)}")
    return result


def usable_rows(database: "duckdb.DuckDBPyConnection", columns: Columns, p: SplitParams) -> tuple[Rows, int]:
    """Return the numbers of the rows to deal out, in order, and how many have no target and are left out.

    Raises:
        DataError: a value that split goes by is missing, or there is no row.
    """
    target = columns.target.name
    total, known = _query(database, f"SELECT count(*), count({quoted(target)}) FROM {_table()}")
    missing = int(total[0] - known[0])
    if not known[0]:
        raise DataError(f"{RAW} has no row with a target {target!r}, of {total[0]} rows")
    if missing and p.missing_target == "refuse":
        raise DataError(
            f"{RAW}: the target {target!r} is missing in {missing} of {total[0]} rows; "
            "mend them, or leave them out by split.missing_target: drop"
        )
    for column in (columns.role("group"), columns.role("time"), columns.role("key") if p.by == "hash" else None):
        if column is not None:
            gaps = _query(database, f"SELECT count(*) FROM {_known(columns)} WHERE {quoted(column.name)} IS NULL")[0][0]
            if gaps:
                raise DataError(f"{RAW}: split.{column.role}: {column.name!r} is missing in {gaps} of {total[0]} rows")
    return _query(database, f"SELECT {ROW} FROM {_known(columns)} ORDER BY {ROW}")[0].astype(np.int64), missing


def deal(database: "duckdb.DuckDBPyConnection", columns: Columns, rows: Rows, p: SplitParams) -> Parts:
    """Return the row numbers of each part, in the order in which they are written.

    Raises:
        DataError: a part would get no row, or too few of a class.
    """
    by = {"stratified": columns.target, "group": columns.role("group"), "time": columns.role("time")}.get(p.by)
    if p.by == "hash":
        dealt = dealing.by_hash(_points(database, columns, p.seed), float(p.validation), float(p.test))
    elif by is None:
        dealt = dealing.at_random(dealing.sizes(len(rows), p.validation, p.test), p.seed)
    else:
        ranks = _ranks(database, columns, by, descending=p.by == "time")
        wanted = dealing.sizes(len(rows), p.validation, p.test)
        if p.by == "time":
            dealt = dealing.in_time(ranks, wanted)
        else:
            dealt = (dealing.stratified if p.by == "stratified" else dealing.in_groups)(ranks, wanted, p.seed)
    return {part: rows[places] for part, places in dealt.items()}


def repeats(database: "duckdb.DuckDBPyConnection", columns: Columns) -> tuple[Rows, Rows]:
    """Return the rows (n,) that equal an earlier one in features and target, and the first of each one's kind."""
    names = ", ".join(quoted(c.name) for c in columns if c.role in ("feature", "target"))
    # The hash only picks candidates, so that a wide table is not grouped by all its columns.
    again, first = _query(
        database,
        f"WITH hashed AS (SELECT {ROW}, hash({names}) AS h FROM {_known(columns)}), "
        f"likely AS (SELECT {ROW} FROM hashed WHERE h IN (SELECT h FROM hashed GROUP BY h HAVING count(*) > 1)), "
        f"kinds AS (SELECT {ROW} AS again, min({ROW}) OVER (PARTITION BY {names}) AS first "
        f"FROM {_known(columns)} WHERE {ROW} IN (FROM likely)) "
        "SELECT again, first FROM kinds WHERE again <> first ORDER BY again",
    )
    return again.astype(np.int64), first.astype(np.int64)


def _points(database: "duckdb.DuckDBPyConnection", columns: Columns, seed: int) -> "np.ndarray[Any, Any]":
    """Return each row's point in [0, 1): the first 52 bits of the SHA-256 of `SEED:KEY`.

    A key is its UTF-8 text; an integer its decimal digits, a date its microseconds since 1970.
    """
    key = next(c for c in columns if c.role == "key")
    text = f"epoch_us({quoted(key.name)})" if key.type == "date" else quoted(key.name)
    digits = f"substr(sha256('{seed}:' || CAST({text} AS VARCHAR)), 1, 13)"
    (numbers,) = _query(database, f"SELECT CAST('0x' || {digits} AS BIGINT) FROM {_known(columns)} ORDER BY {ROW}")
    return numbers / 2.0**52


def _ranks(database: "duckdb.DuckDBPyConnection", columns: Columns, column: Column, descending: bool) -> Rows:
    """Return the rank from 0 of each row's value among the column's distinct values."""
    order = f"{quoted(column.name)} {'DESC' if descending else 'ASC'}"
    query = f"SELECT dense_rank() OVER (ORDER BY {order}) - 1 AS rank, {ROW} FROM {_known(columns)} ORDER BY {ROW}"
    return _query(database, query)[0].astype(np.int64)


def _table() -> str:
    return f"read_parquet({literal(RAW)})"


def _known(columns: Columns) -> str:
    """Return the rows that have a target, as SQL."""
    return f"(FROM {_table()} WHERE {quoted(columns.target.name)} IS NOT NULL)"


def _query(database: "duckdb.DuckDBPyConnection", query: str) -> "list[np.ndarray[Any, Any]]":
    """Return a query's columns."""
    return list(database.sql(query).fetchnumpy().values())


def main() -> None:
    """Run the stage."""
    p = params.read("split", SplitParams)
    columns = assigned(tables.raw_columns(), p)
    with tables.connection() as database, replacing_folder(tables.SPLIT) as folder:
        rows, dropped = usable_rows(database, columns, p)
        dealt = deal(database, columns, rows, p)
        again, first = repeats(database, columns)
        moved = 0
        if p.duplicates == "together" and p.by in ("random", "stratified"):
            dealt, moved = dealing.rejoined(dealt, again, first)
        parts.write(database, columns, dealt, folder, parts.Files(p.files.model_dump(), p.format))
        tables.write_columns(folder / "columns.json", columns)
        report = {
            "rows": {part: len(of_part) for part, of_part in dealt.items()},
            "repeated": len(again),  # rows that equal an earlier one in features and target
            "moved": moved,  # of these, moved to the part of the first of their kind
            "apart": int(dealing.apart(dealt, again, first).sum()),  # of these, in another part than the first
            "dropped": dropped,  # rows without a target
        }
        write_json(folder / "report.json", report)
    _tell(report)


def _tell(report: dict[str, Any]) -> None:
    """Print what was dealt out."""
    sizes = ", ".join(f"{part} {rows}" for part, rows in report["rows"].items() if rows)
    print(f"{sum(report['rows'].values())} rows -> {sizes}")
    if report["dropped"]:
        print(f"rows without a target, left out: {report['dropped']}")
    if report["repeated"]:
        print(
            f"rows that repeat another: {report['repeated']}, of these moved to its part: {report['moved']}, "
            f"in different parts: {report['apart']}"
        )


if __name__ == "__main__":
    command.run(main)
