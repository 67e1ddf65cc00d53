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

from stages.errors import UserError
from stages.files import write_json

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Type = Literal["integer", "number", "category", "text", "date"]
Role = Literal["row", "feature", "target", "group", "time", "key"]
TYPES: tuple[Type, ...] = get_args(Type)
ROLES: tuple[Role, ...] = get_args(Role)

RAW = Path("data/raw.parquet")
SPLIT = Path("data/split")
PARTS = ("train", "validation", "test")
ROW = "row"  # name of the row number's column

# How a type is stored, in DuckDB's words.
STORED: dict[Type, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "date": "TIMESTAMP",
}
_METADATA = "trialtree"  # key of the types in a Parquet file's metadata


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


def quoted(name: str) -> str:
    """Return a column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return a text or path as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


@contextmanager
def connection() -> "Iterator[duckdb.DuckDBPyConnection]":
    """Yield an empty in-memory DuckDB that keeps the order of rows and loads no extension."""
    import duckdb

    settings = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "preserve_insertion_order": "true",
        "enable_progress_bar": "false",
        "TimeZone": "UTC",
    }
    database = duckdb.connect(":memory:")
    try:
        for name, value in settings.items():
            database.execute(f"SET {name}={literal(value)}")
        yield database
    finally:
        database.close()


def write_parquet(database: "duckdb.DuckDBPyConnection", query: str, path: Path, columns: Iterable[Column]) -> None:
    """Write a query's rows, in its order, to one Parquet file that carries the columns' types.

    `path` is written in place: callers go through `files.replacing`.
    """
    types = json.dumps({column.name: column.type for column in columns}, ensure_ascii=False)
    database.execute(
        f"COPY ({query}) TO {literal(path)} "
        f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{_METADATA}: {literal(types)}}})"
    )


def raw_columns(path: Path = RAW) -> Columns:
    """Return the columns of data/raw.parquet, the row number with its role, all others as features.

    Raises:
        DataError: the file is missing, cut off or not fetch's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise DataError(f"{path} is not here; `dvc repro fetch` makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    types = metadata.get(_METADATA.encode())
    if types is None:
        raise DataError(f"{path} does not carry the types of its columns; `dvc repro --force fetch` makes it anew")
    return Columns(
        Column(name, type_, "row" if name == ROW else "feature") for name, type_ in json.loads(types).items()
    )


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
    return sorted((folder / part).glob("part-*"))


def read_part(part: str, columns: Sequence[Column], folder: Path = SPLIT) -> "pa.Table":
    """Return the rows of a part, in the order in which split dealt them, with the columns asked for.

    The table has a column of Arrow type int64, double, string or timestamp for
    each of `columns`; a part without files has 0 rows.

    Raises:
        DataError: a file is damaged or lacks a column.
    """
    import duckdb

    files = part_files(part, folder)
    names = ", ".join(f"CAST({quoted(c.name)} AS {STORED[c.type]}) AS {quoted(c.name)}" for c in columns)
    with connection() as database:
        if not files:
            nothing = ", ".join(f"CAST(NULL AS {STORED[c.type]}) AS {quoted(c.name)}" for c in columns)
            return _arrow(database.sql(f"SELECT {nothing} LIMIT 0"))
        try:
            return _arrow(database.sql(f"SELECT {names} FROM {_reader(files, folder)}"))
        except duckdb.Error as error:
            raise DataError(f"{folder / part} cannot be read: {_first_line(error)}") from None


def _reader(files: Sequence[Path], folder: Path) -> str:
    """Return the table function that reads the files of a part."""
    paths = "[" + ", ".join(literal(path) for path in files) + "]"
    if files[0].suffix == ".parquet":
        return f"read_parquet({paths})"
    stored = {c.name: STORED[c.type] for c in read_columns(folder)}
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in stored.items())
    # Every option is given: nothing about a file of ours is guessed.
    return (
        f"read_csv({paths}, header=true, auto_detect=false, delim=',', quote='\"', escape='\"', "
        f"nullstr='', allow_quoted_nulls=false, columns={{{types}}})"
    )


def _arrow(relation: "duckdb.DuckDBPyRelation") -> "pa.Table":
    """Return a relation's rows as one Arrow table."""
    table: Any = relation.to_arrow_table()
    return table


def _first_line(error: Exception) -> str:
    """Return the first line of a library's message."""
    return str(error).strip().splitlines()[0]
