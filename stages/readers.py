"""Make files of CSV or Parquet one view of DuckDB, their rows in order."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages import casts, csvs, guessing, rules
from stages.databases import limit, literal, quoted
from stages.params import ParamsError
from stages.sources import File
from stages.tables import Column, DataError, Type

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SAMPLE = "sample"  # the table of some rows
_INDEX = r"__index_level_\d+__"  # pandas's name for an index without one


class RefusedError(Exception):
    """A quick way of reading meets a cell or record that it leaves to the slow one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the view `cells` holds."""

    shown: str  # the files for messages
    paths: Sequence[Path]  # the files that the view reads
    rows: int  # for CSV with quotes or empty lines at most so many
    cells: csvs.Cells | None  # None where the files are Parquet
    notes: Sequence[str] = ()  # lines about columns that are left out
    missing: Sequence[str] = ()  # texts for no value

    @property
    def text(self) -> bool:
        """Whether every cell is text, whose type is to be found."""
        return self.cells is not None

    @property
    def guesses(self) -> tuple[casts.Guess | None, ...]:
        """How to tell the types of text cells: from a sample, and where that is misleading, from all of them."""
        return (casts.Guess(SAMPLE, self._parse), casts.Guess("cells", self._parse)) if self.text else (None,)

    def _parse(self, database: "duckdb.DuckDBPyConnection", numbers: Collection[str]) -> Collection[str]:
        """Make the view again, with these columns as numbers where the parser's are those of the rule; return them.

        Queries of the view fail at a cell that is none.
        """
        # Of one column the parser cannot be told what is missing, see `csvs.Cells.query`.
        if self.cells is None or not self.cells.plain or len(self.cells.names) == 1:
            return ()
        _make_view(database, self.cells, self.cells.query(self.missing, numbers))
        return numbers

    def numbers(self, columns: Sequence[Column]) -> "Iterator[pa.RecordBatch] | None":
        """Return the rows as `numerals.batches` does, where it can; raises RefusedError on the way."""
        if self.cells is None or not self.cells.plain or {c.type for c in columns} - {"integer", "number"}:
            return None
        if len(self.cells.names) == 1:  # an empty line may be a gap
            return None
        from stages import numerals

        return numerals.batches(self.cells, {c.name: c.type for c in columns}, self.missing)

    def check_header(self, database: "duckdb.DuckDBPyConnection", form: csvs.Form, types: Mapping[str, Type]) -> None:
        """Raise DataError where a first line was taken for names and looks like a row, or the other way round."""
        if self.cells is None or form.header is not None:
            return
        named = dict(zip(self.cells.names, self.cells.first, strict=True))
        if form.columns is None:
            rows = [n for n in named if types.get(n) in ("integer", "number") and rules.is_number(n, form.decimal)]
            if rows:
                raise DataError(
                    f"{self.cells.texts[0].shown}: the first line looks like a row and would be lost: {rows[0]!r} "
                    "stands over numbers; name the columns in params.yaml: fetch.columns, or add fetch.header: true"
                )
            return
        texts = [n for n in named if types.get(n) in ("category", "text")]
        words = [n for n in texts if named[n] and not rules.is_number(named[n], form.decimal)]
        if words and (odd := guessing.first_is_odd(database, SAMPLE, words, form.decimal)):
            raise DataError(
                f"{self.cells.texts[0].shown}: the first line looks like a header: {named[odd]!r} stands over numbers; "
                "add to params.yaml: fetch.header: true if it is one, else false"
            )


def load(
    database: "duckdb.DuckDBPyConnection", files: Sequence[File], form: csvs.Form, missing: Sequence[str], folder: Path
) -> Loaded:
    """Make the view `cells` of files; copies of what must be unpacked or decoded are written into `folder`.

    Raises:
        DataError: the files are empty, damaged or of different columns.
        ParamsError: a key of params.yaml does not fit them.
    """
    parquet = [file.path for file in files if _is_parquet(file.path)]
    shown = files[0].shown if len(files) == 1 else f"{files[0].shown} and {len(files) - 1} more"
    if not parquet:
        cells = csvs.read([(file.shown, file.path) for file in files], form, folder)
        _load_csv(database, cells, missing, folder)
        rows = sum(text.lines for text in cells.texts)
        notes = list(cells.left_out().values())
        return Loaded(shown, [text.path for text in cells.texts], rows, cells, notes, missing)
    if len(parquet) != len(files):
        other = next(file.shown for file in files if file.path not in parquet)
        raise DataError(f"{other}: is not Parquet, as {parquet[0]} is; the files must agree")
    notes = _load_parquet(database, files, form, missing)
    return Loaded(shown, parquet, _rows(database), None, notes)


def _rows(database: "duckdb.DuckDBPyConnection") -> int:
    """Return how many rows the files have."""
    found = database.execute("SELECT count(*) FROM cells").fetchone()
    return int(found[0]) if found else 0


def _is_parquet(path: Path) -> bool:
    """Say whether a file is meant to be Parquet, whole or not."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix.lower() in (".parquet", ".pq")


def _load_csv(database: "duckdb.DuckDBPyConnection", cells: csvs.Cells, missing: Sequence[str], folder: Path) -> None:
    """Make the view of CSV files, which parses them at each query, and the table SAMPLE of some of its rows."""
    import duckdb

    query = cells.query(missing)
    limit(database, len(cells.names))
    try:
        if not database.execute(f"{query} LIMIT 1").fetchone():
            raise DataError(f"{cells.texts[0].shown}: has a header and no row")
        last = len(cells.names) - 1
        if not cells.names[last] and database.execute(f"FROM ({query}) WHERE c{last} IS NOT NULL LIMIT 1").fetchone():
            csvs.check_names(f"{cells.texts[0].shown}: the first line", cells.names, [1])
        sample = cells.sample(missing, folder)
        database.execute(f"CREATE TABLE {SAMPLE} AS SELECT {cells.named()} FROM ({sample})")
    except duckdb.InvalidInputException as error:
        raise cells.fault(error) from None
    _make_view(database, cells, query)


def _make_view(database: "duckdb.DuckDBPyConnection", cells: csvs.Cells, query: str) -> None:
    database.execute(f"CREATE OR REPLACE VIEW cells AS SELECT {cells.named()} FROM ({query})")


def _load_parquet(
    database: "duckdb.DuckDBPyConnection", files: Sequence[File], form: csvs.Form, missing: Sequence[str]
) -> list[str]:
    """Make the view of Parquet files: typed, text stripped of blanks and NULL where missing.

    Return lines about columns that are left out.
    """
    import duckdb

    found: dict[str, dict[str, str]] = {}
    for file in files:
        try:
            found[file.shown] = casts.described(database, f"FROM read_parquet({literal(file.path)})")
        except duckdb.Error as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(f"{file.shown}: cannot be read as Parquet, it is cut off or damaged: {reason}") from None
    (one, types), *others = found.items()
    limit(database, len(types))
    for other, its in others:
        if its != types:
            differing = next((n for n in (*types, *its) if types.get(n) != its.get(n)), "another order")
            raise DataError(f"{other}: differs from {one} in its columns ({differing}); the files must agree")
    index = [name for name in types if re.fullmatch(_INDEX, name)]
    if len(form.columns or ()) != len(types):  # else the index is named as all others
        types = {name: kind for name, kind in types.items() if name not in index}
    names = list(form.columns or map(str.strip, types))
    if len(names) != len(types):
        raise ParamsError(f"params.yaml: fetch.columns: has {len(names)} names, {one} has {len(types)} columns")
    csvs.check_names(one, names)
    cells = (
        f"{csvs.stripped(quoted(old), ['', *missing]) if kind in ('VARCHAR', 'ENUM') else quoted(old)} AS {quoted(new)}"
        for (old, kind), new in zip(types.items(), names, strict=True)
    )
    paths = ", ".join(literal(file.path) for file in files)
    database.execute(f"CREATE VIEW cells AS SELECT {', '.join(cells)} FROM read_parquet([{paths}])")
    if not database.execute("SELECT 1 FROM cells LIMIT 1").fetchone():
        raise DataError(f"{one}: has no row")
    return [
        f"{one}: column {name} is left out, as the index of a data frame; fetch.columns names it"
        for name in index
        if name not in types
    ]
