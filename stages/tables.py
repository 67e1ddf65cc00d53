"""Tables between stages: their columns, types and roles, and the files that hold them.

data/raw.parquet holds the row number first (column `row`, from 0), then the
table's columns in their order. A column's type is one of `TYPES`; Parquet
cannot tell a category from a text, so the types stand in the file's own
metadata. data/split/columns.json adds the role of each column.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from stages import decoded
from stages.databases import connection, literal, quoted
from stages.errors import UserError
from stages.files import write_json

if TYPE_CHECKING:
    import pyarrow as pa

Type = Literal["integer", "number", "category", "text", "date"]
Role = Literal["row", "feature", "target", "group", "time", "key"]
TYPES: tuple[Type, ...] = get_args(Type)
ROLES: tuple[Role, ...] = get_args(Role)

RAW = Path("data/raw.parquet")
SPLIT = Path("data/split")
PARTS = ("train", "validation", "test")
ROW = "row"  # name of the row number's column
MANY = 1_000_000  # rows from which figures need not be exact, and nobody wants to wait for all of them

# How a type is stored, in DuckDB's words.
STORED: dict[Type, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "date": "TIMESTAMP",
}
# How it is held in memory, in Arrow's.
ARROW: dict[Type, str] = {
    "integer": "int64",
    "number": "double",
    "category": "string",
    "text": "string",
    "date": "timestamp[us]",
}
METADATA = "trialtree"  # key of the types in a Parquet file's metadata
REPEATED = "trialtree.repeated"  # key of how many rows repeat an earlier one
DISTINCT = "trialtree.distinct"  # key of about how many different values columns have, of those that were counted
MEANS = "trialtree.means"  # key of the means of the columns' finite values; of dates in microseconds since 1970


class DataError(UserError):
    """A table that is not what it must be."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, its type and what it is for."""

    name: str
    type: Type
    role: Role = "feature"


class Columns(tuple[Column, ...]):
    """The columns of a table in their order, looked up by name or role."""

    __slots__ = ()

    @property
    def names(self) -> list[str]:
        """Names, in order."""
        return [column.name for column in self]

    @property
    def features(self) -> "Columns":
        """The columns of role feature."""
        return Columns(column for column in self if column.role == "feature")

    @property
    def target(self) -> Column:
        """The one column of role target."""
        return next(column for column in self if column.role == "target")

    def role(self, role: Role) -> Column | None:
        """Return the first column of a role, if there is one."""
        return next((column for column in self if column.role == role), None)

    def named(self, name: str, where: str) -> Column:
        """Return a column by its name.

        Raises:
            DataError: there is none; the message begins with `where`, the file or key that asks.
        """
        for column in self:
            if column.name == name:
                return column
        names = ", ".join(n for n in self.names if n != ROW)
        raise DataError(f"{where} has no column {name!r}; it has: {names}")

    def with_roles(self, roles: dict[str, Role]) -> "Columns":
        """Return the columns with the roles given by name; the others keep theirs."""
        return Columns(replace(column, role=roles.get(column.name, column.role)) for column in self)


def rows_in(path: Path) -> int:
    """Return how many rows a Parquet file has."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def missing(path: Path, name: str) -> tuple[int, int]:
    """Return in how many rows of a Parquet file of ours a column has no value, and how many rows there are."""
    import pyarrow.parquet as pq

    file = pq.read_metadata(path)
    column = file.schema.names.index(name)  # no column is nested
    groups = (file.row_group(group).column(column) for group in range(file.num_row_groups))
    return sum(group.statistics.null_count for group in groups), int(file.num_rows)


def raw_columns(path: Path = RAW) -> Columns:
    """Return the columns of data/raw.parquet, the row number with its role, all others as features.

    Raises:
        DataError: the file is missing, cut off or not fetch's.
    """
    types: dict[str, Type] = _noted(path, METADATA)
    return Columns(Column(name, type_, "row" if name == ROW else "feature") for name, type_ in types.items())


def raw_repeated(path: Path = RAW) -> int:
    """Return how many rows of data/raw.parquet repeat an earlier one in all columns; raises as `raw_columns`."""
    return int(_noted(path, REPEATED))


def raw_distinct(path: Path = RAW) -> dict[str, int]:
    """Return about how many different values columns have, of those that fetch counted; raises as `raw_columns`.

    Of a table of at most MANY rows, numbers and dates are not among them.
    """
    return dict(_noted(path, DISTINCT))


def raw_means(path: Path = RAW) -> dict[str, float | None]:
    """Return the means of numbers and dates, by column, that fetch noted in data/raw.parquet; raises as `raw_columns`.

    They are of finite values, and None where a column has none; of dates in microseconds since 1970.
    """
    return dict(_noted(path, MEANS))


def _noted(path: Path, key: str) -> Any:
    """Return an entry of a Parquet file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = (pq.read_metadata(path).metadata or {}).get(key.encode())
    except FileNotFoundError:
        raise DataError(f"{path} is not here; `dvc repro fetch` makes it") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    if found is None:
        raise DataError(f"{path} does not carry the types of its columns; `dvc repro --force fetch` makes it anew")
    return json.loads(found)


def write_columns(path: Path, columns: Iterable[Column]) -> None:
    """Write columns.json: name, type and role of each column, in order."""
    content = [{"name": c.name, "type": c.type, "role": c.role} for c in columns]
    write_json(path, {"columns": content})


def read_columns(folder: Path = SPLIT) -> Columns:
    """Return the columns of the split in `folder`.

    Raises:
        DataError: columns.json is missing or damaged.
    """
    path = folder / "columns.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Columns(Column(c["name"], c["type"], c["role"]) for c in content["columns"])
    except FileNotFoundError:
        raise DataError(f"{path} is not here; `dvc repro split` makes it") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged; `dvc repro --force split` makes it anew") from None


def part_files(part: str, folder: Path = SPLIT) -> list[Path]:
    """Return the files of a part, in order; none for a part that has no rows."""
    # By length first: part-1000 comes after part-999.
    return sorted((folder / part).glob("part-*"), key=lambda path: (len(path.name), path.name))


def schema(columns: Sequence[Column]) -> "pa.Schema":
    """Return the columns as Arrow holds them: int64, double, string or timestamp."""
    import pyarrow as pa

    return pa.schema([(c.name, pa.type_for_alias(ARROW[c.type])) for c in columns])


def read_part(part: str, columns: Sequence[Column], folder: Path = SPLIT) -> "pa.Table":
    """Return the rows of a part, in the order in which split dealt them, with the columns asked for.

    The table has a column of Arrow type int64, double, string or timestamp for
    each of `columns`; a part without files has 0 rows.

    Raises:
        DataError: a file is damaged or lacks a column.
    """
    import pyarrow as pa

    wanted, files = schema(columns), part_files(part, folder)
    if not files:
        return wanted.empty_table()
    if files[0].suffix != ".parquet":
        return pa.concat_tables([wanted.empty_table(), *csv_batches(files, wanted, folder)])
    return pa.concat_tables(_read_parquet(path, wanted) for path in files)


def parquet_batches(path: Path, wanted: "pa.Schema") -> "Iterator[pa.Table]":
    """Yield the columns of one file, some rows at a time.

    Raises:
        DataError: the file is damaged or lacks a column.
    """
    import pyarrow as pa

    with _reading(path):
        if (small := decoded.table(path)) is not None:
            yield _selected(path, small, wanted)
            return
    with _parquet(path) as file:
        _refuse_lacking(path, file.schema_arrow.names, wanted)
        for batch in file.iter_batches(columns=wanted.names):
            yield _selected(path, pa.table(batch), wanted)


def parquet_rows(path: Path) -> int:
    """Return how many rows a file says it holds.

    Raises:
        DataError: the file is damaged.
    """
    with _reading(path):
        if (small := decoded.table(path)) is not None:
            return int(small.num_rows)
    with _parquet(path) as file:
        count: int = file.metadata.num_rows
    return count


def _read_parquet(path: Path, wanted: "pa.Schema") -> "pa.Table":
    """Return the columns of one file."""
    with _reading(path):
        if (small := decoded.table(path)) is not None:
            return _selected(path, small, wanted)
    with _parquet(path) as file:
        _refuse_lacking(path, file.schema_arrow.names, wanted)
        return _selected(path, file.read(columns=wanted.names), wanted)


def _selected(path: Path, table: "pa.Table", wanted: "pa.Schema") -> "pa.Table":
    """Return the columns of a table from a file."""
    _refuse_lacking(path, table.column_names, wanted)
    return table.select(wanted.names).cast(wanted)


@contextmanager
def _parquet(path: Path) -> "Iterator[Any]":
    """Yield an open file; pyarrow without its dataset module, whose import costs more than the reading."""
    import pyarrow.parquet as pq

    with _reading(path), pq.ParquetFile(path) as file:
        yield file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in a line what a file is that cannot be read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}") from None


def _refuse_lacking(path: Path, found: Sequence[str], wanted: "pa.Schema") -> None:
    """Refuse a file that lacks a column."""
    for name in wanted.names:
        if name not in found:
            raise DataError(f"{path} has no column {name!r}; it has: {', '.join(found)}")


def csv_batches(files: Sequence[Path], wanted: "pa.Schema", folder: Path) -> "Iterator[pa.Table]":
    """Yield the columns of CSV files, some rows at a time; DuckDB tells an empty text from a gap.

    Raises:
        DataError: a file is damaged.
    """
    import duckdb
    import pyarrow as pa

    names = ", ".join(quoted(name) for name in wanted.names)
    with connection() as database:
        try:
            query = database.sql(f"SELECT {names} FROM {csv_source(files, folder)}")
            for batch in query.to_arrow_reader(65_536):
                yield pa.table(batch).cast(wanted)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise DataError(f"{files[0].parent} cannot be read: {_first_line(error)}") from None


def csv_rows(files: Sequence[Path], folder: Path) -> int:
    """Return how many rows CSV files hold.

    Raises:
        DataError: a file is damaged.
    """
    import duckdb

    with connection() as database:
        try:
            found = database.execute(f"SELECT count(*) FROM {csv_source(files, folder)}").fetchone()
        except duckdb.Error as error:
            raise DataError(f"{files[0].parent} cannot be read: {_first_line(error)}") from None
    return int(found[0]) if found else 0


def csv_source(files: Sequence[Path], folder: Path) -> str:
    """Return the table function that reads CSV files of ours."""
    paths = "[" + ", ".join(literal(path) for path in files) + "]"
    stored = {c.name: STORED[c.type] for c in read_columns(folder)}
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in stored.items())
    # Every option is given: nothing about a file of ours is guessed.
    return (
        f"read_csv({paths}, header=true, auto_detect=false, delim=',', quote='\"', escape='\"', "
        f"nullstr='', allow_quoted_nulls=false, columns={{{types}}})"
    )


def _first_line(error: Exception) -> str:
    """Return the first line of a library's message."""
    return str(error).strip().splitlines()[0]
