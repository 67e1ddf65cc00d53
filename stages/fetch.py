"""Fetch the table: read it, give each column a type and each row its number.

    python -m stages.fetch

Reads   fetch.source: a table of scikit-learn, CSV or Parquet files here or elsewhere, or a query
Writes  data/raw.parquet, reports/data.json

The same files and params give the same bytes.  Nothing here knows the target.
"""

import codecs
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PlainValidator, Tag, field_validator, model_validator

from stages import (
    bundled,
    casts,
    command,
    content,
    csvs,
    databases,
    expressions,
    guessing,
    masking,
    numbering,
    params,
    profiles,
    readers,
    remotes,
    sources,
    tables,
)
from stages.databases import quoted
from stages.files import replacing, scratch, write_json
from stages.queries import Sql
from stages.tables import Column, DataError

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


def _form(value: Any) -> str:
    """Return which of the forms of `source` a value has; tags in brackets are not shown, see `params`."""
    return "(sql)" if isinstance(value, dict | Sql) else "(list)" if isinstance(value, list) else "(name)"


Source = Annotated[
    Annotated[str, Tag("(name)")] | Annotated[list[str], Tag("(list)")] | Annotated[Sql, Tag("(sql)")],
    Discriminator(_form),
]


class FetchParams(params.Section):
    """Which table, and how its files are written."""

    source: Source  # sklearn:NAME, a file, folder or glob, an address; several in a list; or a query
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")  # of the files; see content.digest
    endpoint: str | None = Field(default=None, pattern="^https?://[^/@]+/?$")  # of S3, where it is not Amazon's
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
    def _is_known(cls, source: sources.Source) -> sources.Source:
        if not source or (isinstance(source, list) and not all(source)):
            raise ValueError(f"must be sklearn:NAME, a path, {remotes.KINDS}, or {{sql: …}}")
        for name in source if isinstance(source, list) else [source]:
            if isinstance(name, str) and (fault := remotes.fault(name)):
                raise ValueError(fault)
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
        if self.endpoint and not any(str(name).startswith("s3://") for name in sources.items_of(self.source)):
            raise ValueError("endpoint: for s3:// only")
        return self

    @property
    def bundled(self) -> str | None:
        """The name of scikit-learn's table, if the source is one."""
        if isinstance(self.source, str) and self.source.startswith(_BUNDLED):
            return self.source.removeprefix(_BUNDLED)
        return None

    @property
    def shown(self) -> str:
        """The source for messages."""
        return masking.masked(str(self.source)) if not isinstance(self.source, Sql) else self.source.shown

    @property
    def form(self) -> csvs.Form:
        """How the cells of CSV files are written."""
        return csvs.Form(self.columns, self.header, self.delimiter, self.encoding, self.decimal)


def fetch(p: FetchParams, raw: Path = tables.RAW) -> tuple[list[Column], list[content.Facts]]:
    """Write the table to `raw`, and return its columns and what was read; print what a reader may not expect of them.

    Raises:
        DataError: the files are not what they must be.
        ParamsError: a key does not fit the table.
    """
    with _loaded(p, raw) as (database, loaded, files):
        for line in loaded.notes:
            print(line)
        with replacing(raw) as partial:
            found = _written(database, p, loaded, partial)
            if loaded.text:
                texts = [
                    c.name for c in found if c.type in ("category", "text") and c.name not in (*p.types, *p.derive)
                ]
                written = f"read_parquet({databases.literal(partial)})"
                for line in guessing.nearly_numbers(database, written, texts, p.form.decimal):
                    print(line)
    return found, [file.entry for file in files]


def columns(p: FetchParams) -> list[Column]:
    """Return the columns that the table will have, those of a large one by a sample of its rows; raises as `fetch`."""
    with _loaded(p, tables.RAW) as (database, loaded, _):
        if loaded.rows > tables.MANY:
            found, _ = _arrange(database, p, loaded.guesses[0])
            loaded.check_header(database, p.form, {c.name: c.type for c in found})
            return found
        with scratch(tables.RAW) as folder:
            return _written(database, p, loaded, folder / tables.RAW.name)


@contextmanager
def _loaded(
    p: FetchParams, raw: Path
) -> "Iterator[tuple[duckdb.DuckDBPyConnection, readers.Loaded, list[sources.File]]]":
    """Yield a database with the source as the view `cells`, what was loaded, and of which files.

    The database is shut off from all files but those beside `raw` and what was loaded.
    """
    import duckdb

    with scratch(Path("data/fetch")) as left, databases.connection(left.resolve()) as database:
        folder = left.resolve()
        files = _files(p, folder)
        loaded = _load(database, p, files, folder)
        expressions.shut_off(database, [folder, raw.parent.resolve()], loaded.paths)
        try:
            yield database, loaded, files
        except duckdb.Error as error:
            if loaded.cells is not None and "CSV Error" in str(error):
                raise loaded.cells.fault(error) from None
            if not isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
                expressions.find_failing(database, "FROM derived", p.derive)
                if loaded.text:
                    raise
            raise DataError(f"{loaded.shown}: {str(error).strip().splitlines()[0]}") from None


def _written(database: "duckdb.DuckDBPyConnection", p: FetchParams, loaded: readers.Loaded, path: Path) -> list[Column]:
    """Write all rows, and return the columns as all rows have them."""
    import duckdb

    for guess in loaded.guesses:
        found, query = _arrange(database, p, guess)
        loaded.check_header(database, p.form, {c.name: c.type for c in found})
        try:
            return _numbered(database, p, loaded, (found, query), path)
        except duckdb.Error as error:
            if casts.MISFIT in str(error):
                _check_forced(database, p)
            # What the parser refuses is misguessed too, or a fault that the next guess meets again.
            refused = guess is not None and guess.table == readers.SAMPLE and "CSV Error" in str(error)
            if not refused and casts.MISGUESSED not in str(error):
                raise
    raise AssertionError("all cells were asked for their types, and one is of another")


def _numbered(
    database: "duckdb.DuckDBPyConnection",
    p: FetchParams,
    loaded: readers.Loaded,
    arranged: tuple[list[Column], str],
    path: Path,
) -> list[Column]:
    """Write the rows of what `_arrange` gave, by a quicker way where they are nothing but numbers as they stand."""
    found, query = arranged
    if not (p.derive or p.types) and (numbers := loaded.numbers(found)) is not None:
        with suppress(readers.RefusedError):
            return numbering.write(numbers, guessing.Kinds(found, ()), path, loaded.rows)
    return numbering.write(numbering.hashed(database, query, found), guessing.Kinds(found, p.types), path, loaded.rows)


def _files(p: FetchParams, folder: Path) -> list[sources.File]:
    """Return the files of the source; those that are not here already are put into `folder`."""
    if p.bundled is None:
        return sources.find(p.source, p.sha256, folder, p.endpoint)
    path = folder / "bundled.csv"
    bundled.write(p.bundled, path)
    return content.hashed([sources.File(p.shown, path)])


def _load(
    database: "duckdb.DuckDBPyConnection", p: FetchParams, files: Sequence[sources.File], folder: Path
) -> readers.Loaded:
    """Make the files the view `cells`."""
    if p.bundled is not None:
        return readers.load(database, files, csvs.Form(), (), folder)
    return readers.load(database, files, p.form, p.missing, folder)


def _arrange(
    database: "duckdb.DuckDBPyConnection", p: FetchParams, guess: casts.Guess | None
) -> tuple[list[Column], str]:
    """Return the columns of the view `cells`, typed, derived, kept and dropped, and the query of its rows.

    `guess`: how types are told, where the cells are text.
    """
    found = list(casts.described(database, "FROM cells"))
    _check_known(p, [*found, *p.derive])
    of_source = {name: forced for name, forced in p.types.items() if name in found}
    known, query = casts.cast(database, "cells", of_source, p.decimal, guess)
    database.execute(f"CREATE OR REPLACE VIEW typed AS {query}")
    database.execute(f"CREATE OR REPLACE VIEW derived AS {expressions.derived(database, 'typed', found, p.derive)}")
    of_derived = {name: forced for name, forced in p.types.items() if name not in found}
    more, query = casts.cast(database, "derived", of_derived)
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
    return [by_name[name] for name in kept], f"SELECT {', '.join(map(quoted, kept))} FROM ({query})"


def _check_forced(database: "duckdb.DuckDBPyConnection", p: FetchParams) -> None:
    """Raise DataError for the first value that is not of the type that params give its column."""
    names = casts.described(database, "FROM cells")
    casts.check_forced(database, "cells", {n: forced for n, forced in p.types.items() if n in names}, p.decimal)
    casts.check_forced(database, "derived", {n: forced for n, forced in p.types.items() if n not in names})


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
    columns, read = fetch(p)
    profile = profiles.profile(tables.RAW, columns)
    write_json(PROFILE, {"source": read, **profile})
    for column in profile["by_column"]:
        if infinite := column.get("infinite"):
            print(
                f"{column['name']}: {infinite} values are infinite, as inf and what is too large for a number (1e400)"
            )
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(c.type for c in columns).items())
    print(f"{p.shown}: {profile['rows']} rows x {len(columns)} columns ({kinds}) -> {tables.RAW}")


if __name__ == "__main__":
    command.run(main, streams=True)
