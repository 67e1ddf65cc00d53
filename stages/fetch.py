"""Fetch the table: read it, give each column a type and each row its number.

    python -m stages.fetch

Reads   fetch.source: a table of scikit-learn, or CSV or Parquet files
Writes  data/raw.parquet, reports/data.json

The same files and params give the same bytes.  Nothing here knows the target.
"""

import codecs
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from stages import bundled, casts, command, csvs, expressions, params, profiles, readers, sources, tables
from stages.files import replacing, scratch, write_json
from stages.tables import Column, DataError, quoted

if TYPE_CHECKING:
    import duckdb

PROFILE = Path("reports/data.json")
_BUNDLED = "sklearn:"
_OF_FILES = ("sha256", "columns", "header", "delimiter", "encoding", "decimal", "missing")


def _forced(value: Any) -> casts.Forced:
    """Return an entry of `types`: a type's name, or a mapping of date to its format."""
    if isinstance(value, str) and value in tables.TYPES:
        return casts.Forced(value)
    if isinstance(value, dict) and list(value) == ["date"] and "%" in str(value["date"]):
        return casts.Forced("date", str(value["date"]))
    raise ValueError(f"must be {', '.join(tables.TYPES)}, or a date's format as {{date: '%m/%d/%Y'}}")


class FetchParams(params.Section):
    """Which table, and how its files are written."""

    source: str | list[str]  # sklearn:NAME, or a file, folder or glob; several in a list
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")  # of the files; see sources.digest
    columns: list[str] | None = None  # names of all columns, where the first line has none or to rename them
    header: bool | None = None  # whether the first line is no row; default: unless `columns` are given
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)  # default: found in the first line
    encoding: str = "utf-8"  # a name that Python's codecs know
    decimal: Literal[".", ","] = "."  # sign before a number's fraction
    missing: list[str] = ["NA", "NaN", "null"]  # texts for no value; an empty cell always is none
    types: dict[str, Annotated[casts.Forced, PlainValidator(_forced)]] = {}  # column: type, instead of the found one
    derive: dict[str, str] = {}  # new column: SQL expression over the row
    keep: list[str] | None = Field(default=None, min_length=1)  # these columns, in this order; default: all
    drop: list[str] = []  # columns left out

    @field_validator("source")
    @classmethod
    def _is_known(cls, source: str | list[str]) -> str | list[str]:
        if not source or (isinstance(source, list) and not all(source)):
            raise ValueError("must be sklearn:NAME or a path")
        if isinstance(source, str) and source.startswith(_BUNDLED):
            name = source.removeprefix(_BUNDLED)
            if name not in bundled.NAMES:
                raise ValueError(f"is no table of scikit-learn; {params.nearest(name, bundled.NAMES)}")
        return source

    @field_validator("columns", "keep", "drop")
    @classmethod
    def _are_names(cls, names: list[str] | None) -> list[str] | None:
        repeated = [name for name, count in Counter(map(str.casefold, names or ())).items() if count > 1]
        if repeated:
            raise ValueError(f"must not repeat {', '.join(repeated)} (letter case aside)")
        if any(name != name.strip() or not name for name in names or ()):
            raise ValueError("must be names that are not empty, without blanks around them")
        return names

    @field_validator("encoding")
    @classmethod
    def _is_a_codec(cls, encoding: str) -> str:
        try:
            "".encode(encoding)  # LookupError also for codecs that are none of text
        except LookupError:
            raise ValueError("must be an encoding of text that Python knows, as utf-8, cp1252, utf-16") from None
        return codecs.lookup(encoding).name

    @field_validator("delimiter")
    @classmethod
    def _delimits(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and (delimiter in '"\r\n\0' or not delimiter.isascii()):
            raise ValueError("must be an ASCII character other than the quote and line ends")
        return delimiter

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal must differ, both are {self.decimal!r}")
        if both := [name for name in self.keep or () if name in self.drop]:
            raise ValueError(f"keep and drop both name {', '.join(both)}")
        if self.bundled is not None and (given := [key for key in _OF_FILES if key in self.model_fields_set]):
            raise ValueError(f"{', '.join(given)}: for files only, and source is {self.source}")
        return self

    @property
    def bundled(self) -> str | None:
        """The name of scikit-learn's table, if the source is one."""
        if isinstance(self.source, str) and self.source.startswith(_BUNDLED):
            return self.source.removeprefix(_BUNDLED)
        return None

    @property
    def form(self) -> csvs.Form:
        """How the cells of CSV files are written."""
        return csvs.Form(self.columns, self.header, self.delimiter, self.encoding, self.decimal)


def fetch(p: FetchParams, raw: Path = tables.RAW) -> list[Column]:
    """Write the table to `raw`, and return its columns; print what a reader may not expect of them.

    Raises:
        DataError: the files are not what they must be.
        ParamsError: a key does not fit the table.
    """
    with _arranged(p, raw) as (database, found, loaded):
        for line in loaded.notes:
            print(line)
        if loaded.text:
            texts = [c.name for c in found if c.type in ("category", "text") and c.name not in (*p.types, *p.derive)]
            for line in casts.nearly_numbers(database, "cells", texts, p.form.decimal):
                print(line)
        names = ", ".join(quoted(c.name) for c in found)
        numbered = f"SELECT row_number() OVER () - 1 AS {tables.ROW}, {names} FROM arranged"
        with replacing(raw) as partial:
            tables.write_parquet(database, numbered, partial, [Column(tables.ROW, "integer", "row"), *found])
    return found


def columns(p: FetchParams) -> list[Column]:
    """Return the columns that the table will have; raises as `fetch` does."""
    with _arranged(p, tables.RAW) as (_, found, _):
        return found


@contextmanager
def _arranged(p: FetchParams, raw: Path) -> "Iterator[tuple[duckdb.DuckDBPyConnection, list[Column], readers.Loaded]]":
    """Yield a database with the table as the view `arranged`, its columns, and what was loaded.

    The database is shut off from all files but `raw` and what was loaded.
    """
    import duckdb

    with scratch(Path("data/fetch")) as left, tables.connection() as database:
        folder = left.resolve()
        database.execute(f"SET temp_directory={tables.literal(folder / 'spill')}")
        loaded = _load(database, p, folder)
        expressions.shut_off(database, [folder, raw.parent.resolve()], loaded.paths)
        try:
            found = _arrange(database, p, loaded.text)
            loaded.check_header(database, p.form, {c.name: c.type for c in found})
            yield database, found, loaded
        except duckdb.Error as error:
            if not isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
                expressions.find_failing(database, "FROM derived", p.derive)
                if loaded.text:
                    raise
            raise DataError(f"{loaded.shown}: {str(error).strip().splitlines()[0]}") from None


def _load(database: "duckdb.DuckDBPyConnection", p: FetchParams, folder: Path) -> readers.Loaded:
    """Make the source the view `cells`."""
    if p.bundled is not None:
        path = folder / "bundled.csv"
        bundled.write(p.bundled, path)
        return readers.load(database, [sources.File(str(p.source), path)], csvs.Form(), (), folder)
    files = sources.find(p.source, p.sha256)
    return readers.load(database, files, p.form, p.missing, folder)


def _arrange(database: "duckdb.DuckDBPyConnection", p: FetchParams, text: bool) -> list[Column]:
    """Make the view `cells` the view `arranged`, and return its columns: typed, derived, kept and dropped.

    `text`: the cells are text, whose types are to be found.
    """
    found = list(casts.described(database, "FROM cells"))
    _check_known(p, [*found, *p.derive])
    source_types = {name: forced for name, forced in p.types.items() if name in found}
    known, query = casts.cast(database, "cells", source_types, p.decimal, guess=text)
    database.execute(f"CREATE VIEW typed AS {query}")
    database.execute(f"CREATE VIEW derived AS {expressions.derived(database, 'typed', found, p.derive)}")
    derived_types = {name: forced for name, forced in p.types.items() if name not in found}
    more, query = casts.cast(database, "derived", derived_types)
    by_name = {c.name: c for c in (*more, *known)}
    kept = [name for name in p.keep or (*found, *p.derive) if name not in p.drop]
    if not kept:
        raise params.ParamsError("params.yaml: fetch.drop: leaves no column")
    if taken := [name for name in kept if name.casefold() == tables.ROW]:
        raise params.ParamsError(
            f"params.yaml: fetch: the table has a column {taken[0]!r}, which is the name of the row's number; "
            f"rename it by derive: {{other_name: {taken[0]}}} and drop: [{taken[0]}]"
        )
    if nested := [name for name in kept if name not in by_name]:
        kind = casts.described(database, "FROM derived")[nested[0]]
        raise DataError(f"the column {nested[0]!r} is {kind}, which no table has here; add it to fetch.drop")
    database.execute(f"CREATE VIEW arranged AS SELECT {', '.join(map(quoted, kept))} FROM ({query})")
    return casts.settled(database, "arranged", [by_name[name] for name in kept], p.types)


def _check_known(p: FetchParams, names: Sequence[str]) -> None:
    """Raise ParamsError for every column that params name and the table has not."""
    asked = {"types": p.types, "keep": p.keep or (), "drop": p.drop}
    unknown = [(key, name) for key, given in asked.items() for name in given if name not in names]
    lines = [
        f"params.yaml: fetch.{key}: the table has no column {n!r}; {params.nearest(n, names)}" for key, n in unknown
    ]
    if lines:
        raise params.ParamsError("\n".join(lines))


def main() -> None:
    """Run the stage."""
    p = params.read("fetch", FetchParams)
    columns = fetch(p)
    profile = profiles.profile(tables.RAW, columns)
    write_json(PROFILE, profile)
    for column in profile["by_column"]:
        if infinite := column.get("infinite"):
            print(
                f"{column['name']}: {infinite} values are infinite, as inf and what is too large for a number (1e400)"
            )
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(c.type for c in columns).items())
    print(f"{p.source}: {profile['rows']} rows x {len(columns)} columns ({kinds}) -> {tables.RAW}")


if __name__ == "__main__":
    command.run(main)
