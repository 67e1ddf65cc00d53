"""Deal a table's rows out to train, validation and test.

    python -m stages.split

Reads   data/raw.parquet
Writes  data/split/columns.json, data/split/report.json,
        data/split/{train,validation,test}/part-*.parquet (or .csv)

Every row goes to exactly one part and keeps its row number from the raw table.
The same table and params give the same bytes.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from stages import command, dealing, params, parts, tables, twins
from stages.dealing import Parts, Rows
from stages.files import replacing_folder, write_json
from stages.raw import Raw
from stages.tables import RAW, Columns, DataError

# The column that each way of dealing goes by.
_NEEDED: dict[str, tables.Role] = {"group": "group", "time": "time", "hash": "key"}


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


def deal(raw: Raw, rows: Rows | None, p: SplitParams) -> Parts:
    """Return the row numbers of each part, in the order in which they are written.

    `rows` have a target, or all where it is None.

    Raises:
        DataError: a value that split goes by is missing, a part would get no row, or too few of a class.
    """
    for column in raw.columns:
        if column.role in ("group", "time") or (column.role == "key" and p.by == "hash"):
            raw.check_whole(column)
    role: tables.Role = "target" if p.by == "stratified" else _NEEDED.get(p.by, "target")
    by = next(column for column in raw.columns if column.role == role)
    if p.by == "hash":
        shares = float(p.validation), float(p.test)
        dealt = dealing.by_hash(raw.points(by, p.seed), *shares)
    else:
        wanted = dealing.sizes(raw.known, p.validation, p.test)
        if p.by == "random":
            dealt = dealing.at_random(wanted, p.seed)
        elif p.by == "stratified":
            dealt = dealing.stratified(raw.ranks(by), wanted, p.seed)
        elif p.by == "group":
            dealt = dealing.in_groups(raw.ranks(by), wanted, p.seed)
        else:
            dealt = dealing.in_time(raw.ranks(by, descending=True), wanted)
    return dealt if rows is None else {part: rows[places] for part, places in dealt.items()}


def main() -> None:
    """Run the stage."""
    p = params.read("split", SplitParams)
    columns = assigned(tables.raw_columns(), p)
    with replacing_folder(tables.SPLIT) as folder:
        with Raw(columns, folder.resolve().parent) as raw:
            dropped = raw.leave_out(drop=p.missing_target == "drop")
            rows = raw.numbers() if dropped else None
            again, first = twins.repeats(raw, rows, folder)
            dealt = deal(raw, rows, p)
        moved = 0
        if p.duplicates == "together" and p.by in ("random", "stratified"):
            dealt, moved = twins.rejoined(dealt, again, first)
        report = {
            "rows": {part: len(of_part) for part, of_part in dealt.items()},
            "repeated": len(again),  # rows that equal an earlier one in features and target
            "moved": moved,  # of these, moved to the part of the first of their kind
            "apart": int(twins.apart(dealt, again, first).sum()),  # of these, in another part than the first
            "dropped": dropped,  # rows without a target
        }
        parts.write(columns, dealt, folder, parts.Files(p.files.model_dump(), p.format))
        tables.write_columns(folder / "columns.json", columns)
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
    command.run(main, streams=True)
