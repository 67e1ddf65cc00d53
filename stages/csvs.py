"""Read CSV as text cells: split into fields and stripped of blanks, nothing guessed in silence.

DuckDB parses, with every option given; Python's parser, which is slower, finds
the words for what DuckDB refused.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from stages.databases import literal, quoted
from stages.records import (
    LARGE,
    LONGEST,
    AfterQuoteError,
    first_lines,
    first_record,
    first_rows,
    may_hide_a_field,
    odd,
    spotted,
    wrong_record,
)
from stages.tables import DataError
from stages.texts import Text, clean

if TYPE_CHECKING:
    import duckdb

DELIMITERS = (",", ";", "\t", "|")  # in this order where a first line has as many of each
SAMPLE = 1000  # first rows of a sample

_SAY_COLUMNS = "name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"
_SAY_HEADER = "if it is no row, add to params.yaml: fetch: header: true, else header: false"


@dataclass(frozen=True, slots=True)
class Form:
    """How the cells of a CSV file are written; None is found out."""

    columns: Sequence[str] | None = None
    header: bool | None = None  # None: the first line names the columns unless `columns` does
    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."

    @property
    def has_header(self) -> bool:
        """Whether the first record is no row."""
        return self.columns is None if self.header is None else self.header


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of CSV files that agree in their columns."""

    names: list[str]  # empty for a first column that is the index of a data frame, and a last one without values
    texts: list[Text]
    form: Form
    delimiter: str
    first: list[str]  # the first record of the first file
    plain: bool  # no quotes or blanks; what DuckDB takes for a number is one by the rule too, or NaN

    def query(self, missing: Sequence[str], numbers: Collection[str] = ()) -> str:
        """Return the query of all cells as VARCHAR c0, c1, ..., stripped, NULL where missing.

        The columns `numbers` are DOUBLE; the query fails at a cell that is none.
        """
        blanks = " \t\u00a0" if any(t.tabs for t in self.texts) else " " if any(t.blanks for t in self.texts) else ""
        tokens = ["", *missing]
        parsed: list[str] = []
        # Of one column, an empty line is no row, and a missing value is one.
        if not blanks and len(self.names) > 1 and not any(text.quotes for text in self.texts):
            # Left to the parser, which is quicker, and refuses tokens that cannot be there.
            parsed, tokens = [token for token in tokens if not {self.delimiter, '"'} & set(token)], []
        columns = (f"{stripped(f'cells.c{i}', tokens, blanks)} AS c{i}" for i in range(len(self.names)))
        types = ["DOUBLE" if name in numbers else "VARCHAR" for name in self.names]
        source = _query(self.texts, self.delimiter, types, self.form.has_header, parsed)
        # An empty line is no row: DuckDB skips it but where it could be a missing value of the only column.
        lines = " WHERE cells.c0 IS NOT NULL" if len(self.names) == 1 else ""
        return f"SELECT {', '.join(columns)} FROM {source} AS cells{lines}"

    def sample(self, missing: Sequence[str], folder: Path) -> str:
        """Return the query of some rows, as `query`: the first, and of large files some from all over them.

        The rows stand in a file of `folder`.
        """
        lines = list(islice(first_rows(self.texts[0], self.form.has_header), SAMPLE))
        # Where quotes may hold line ends, only the parser knows a row's beginning.
        if self.texts[0].quotes:
            return f"{self.query(missing)} LIMIT {SAMPLE}"
        for text in self.texts:
            if text.size >= LARGE and not text.quotes:
                lines += spotted(text)
        path = folder / "sample.csv"
        path.write_bytes(b"".join(lines))
        form = replace(self.form, header=False)
        return replace(self, texts=[replace(self.texts[0], path=path, lines=len(lines))], form=form).query(missing)

    def named(self) -> str:
        """Return the columns that have a name, in the words of a SELECT from `query`."""
        return ", ".join(f"c{i} AS {quoted(name)}" for i, name in enumerate(self.names) if name)

    def left_out(self) -> dict[int, str]:
        """Return the columns without name, counted from 0, each with a line that says so."""
        line = "{}: column {} has no name and is left out, as {}; fetch.columns with fetch.header: true names it"
        kinds = {i: "the index of a data frame" if i == 0 else "it is empty" for i, n in enumerate(self.names) if not n}
        return {i: line.format(self.texts[0].shown, i + 1, kind) for i, kind in kinds.items()}

    def fault(self, error: "duckdb.Error") -> DataError:
        """Return what is wrong with files that DuckDB refused, naming file and line."""
        wrong = (wrong_record(text, self.delimiter, len(self.names)) for text in self.texts)
        shown = ", ".join(text.shown for text in self.texts)
        other = DataError(f"{shown}: cannot be read as CSV: {str(error).strip().splitlines()[0]}")
        return next((found for found in wrong if found is not None), other)


def read(paths: Sequence[tuple[str, Path]], form: Form, folder: Path) -> Cells:
    """Return the cells of CSV files, each given as (path for messages, path).

    What has to be unpacked or decoded first is written into `folder`.

    Raises:
        DataError: a file is empty, cut off or in another encoding, or they differ in their columns.
    """
    texts = [clean(shown, path, form.encoding, folder / f"{i}.csv") for i, (shown, path) in enumerate(paths)]
    delimiter = form.delimiter or _delimiter(texts[0], form.decimal)
    first, *others = (first_record(text, delimiter) for text in texts)
    names = _names(texts[0].shown, first, form)
    for text, other in zip(texts[1:], others, strict=True):
        _agree(texts[0].shown, first, text.shown, other, form.has_header)
    plain = form.decimal == "." and not any(text.quotes or text.blanks for text in texts)
    for text in texts:
        ends, digits = odd(text, delimiter)
        plain = plain and not digits
        # What DuckDB lets pass in silence: a last quote that never closes, an empty field too many.
        if text.quotes % 2 or (ends and may_hide_a_field(text, delimiter, len(names))):
            wrong = wrong_record(text, delimiter, len(names))
            if wrong is not None and not isinstance(wrong, AfterQuoteError):
                raise wrong
    return Cells(names, texts, form, delimiter, first, plain)


def stripped(cell: str, missing: Sequence[str], blanks: str = " \t\u00a0") -> str:
    """Return the SQL of a text without the blanks around it, NULL where it is one of `missing`."""
    text = f"trim({cell}, {literal(blanks)})" if blanks.strip(" ") else f"trim({cell})" if blanks else cell
    if not missing:
        return text
    tokens = ", ".join(map(literal, dict.fromkeys(missing)))
    return f"CASE WHEN {text} IN ({tokens}) THEN NULL ELSE {text} END"


def _delimiter(text: Text, decimal: str) -> str:
    """Return the one of `DELIMITERS` that the first record has most of outside quotes, never the decimal comma."""
    bare = re.sub(r'"[^"]*"', "", first_lines(text))
    allowed = [delimiter for delimiter in DELIMITERS if delimiter != decimal]
    return max(allowed, key=bare.count)  # the first of equals


def _names(shown: str, first: Sequence[str], form: Form) -> list[str]:
    """Return the names of the columns, given or found in the first record.

    Raises:
        DataError: they do not fit the file, or a name is missing or repeated.
    """
    if form.columns is None:
        # The first may be the index of a data frame; whether the last has values is seen when they are read.
        check_names(f"{shown}: the first line", first, (1, len(first)) if any(first) else ())
        return list(first)
    if len(form.columns) != len(first):
        raise DataError(f"params.yaml: fetch.columns: has {len(form.columns)} names, {shown} has {len(first)} columns")
    if form.header is None and list(form.columns) == list(first):
        raise DataError(f"{shown}: the first line holds the names of fetch.columns; {_SAY_HEADER}")
    return list(form.columns)


def check_names(where: str, names: Sequence[str], nameless: Sequence[int] = ()) -> None:
    """Raise DataError where a name is empty, or repeated (letter case aside, as in SQL).

    `nameless`: the columns, counted from 1, whose name may be empty.
    """
    seen: dict[str, str] = {}
    for i, name in enumerate(names, 1):
        if not name and i in nameless:
            continue
        if not name:
            raise DataError(f"{where} gives column {i} no name; {_SAY_COLUMNS}")
        if name.casefold() in seen:
            also = "" if seen[name.casefold()] == name else f" and {seen[name.casefold()]!r}"
            raise DataError(f"{where} repeats the name {name!r}{also}; {_SAY_COLUMNS}")
        seen[name.casefold()] = name


def _agree(one: str, expected: Sequence[str], other: str, first: Sequence[str], header: bool) -> None:
    """Raise DataError where two files have not the same columns in the same order."""
    if len(expected) != len(first):
        raise DataError(f"{other}: has {len(first)} columns, {one} has {len(expected)}; the files must agree")
    if header and list(expected) != list(first):
        found, wanted = next((f, e) for f, e in zip(first, expected, strict=True) if f != e)
        raise DataError(f"{other}: has the column {found!r} where {one} has {wanted!r}; the files must agree")


def _query(texts: Sequence[Text], delimiter: str, types: Sequence[str], header: bool, missing: Sequence[str]) -> str:
    """Return the table function that reads the files as columns c0, c1, ... of these types."""
    options = {
        "auto_detect": "false",
        "header": str(header).lower(),
        "delim": literal(delimiter),
        "quote": literal('"'),
        "escape": literal('"'),
        "max_line_size": str(LONGEST),
        "buffer_size": str(2 * LONGEST),  # DuckDB's own choice is eight times as much
        # Several threads must guess where a record begins, which quoted line ends can defeat.
        "parallel": str(not any(text.quotes for text in texts)).lower(),
        "columns": "{" + ", ".join(f"c{i}: '{type_}'" for i, type_ in enumerate(types)) + "}",
        **({"nullstr": f"[{', '.join(map(literal, missing))}]"} if missing else {}),
    }
    paths = ", ".join(literal(text.path) for text in texts)
    return f"read_csv([{paths}], {', '.join(f'{name}={value}' for name, value in options.items())})"
