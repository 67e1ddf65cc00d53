"""CSV files, plain or packed, as text cells, a few rows in memory at a time."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import archives
from stages.csvs import DELIMITERS
from trialtree.predicting import pieces
from trialtree.predicting.asked import PredictError
from trialtree.predicting.inputs import Input
from trialtree.predicting.pieces import Piece
from trialtree.serving.faults import Fault

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 2**20  # bytes that are parsed at a time
_BOM = b"\xef\xbb\xbf"
_END = "end"  # a line behind all others


class Csv:
    """A CSV file with a header."""

    texts = True
    rows: int | None = None

    def __init__(self, of: Input) -> None:
        """Read the header; raises PredictError where there is none that can be used."""
        import pyarrow as pa

        self.shown, self._path = of.shown, of.path
        self._delimiter, self._raw = _header(of.shown, of.path)
        names = [name.strip() for name in self._raw]
        _check_names(of.shown, names)
        self._named = dict(zip(names, self._raw, strict=True))
        self.schema = pa.schema([(name, pa.string()) for name in names if name])

    def pieces(self, columns: Sequence[str], size: int, start: int) -> Iterator[Piece]:
        """See `pieces.Source`; `start` counts the records that are rows."""
        import pyarrow as pa

        broken: list[tuple[int, str]] = []  # record numbers, from 0, in order
        stream = _Bytes(self.shown, self._path)
        done = first = start
        try:
            batches = self._opened(stream, columns, broken)
            for table in pieces.cut(batches, batches.schema, size, start):
                done = first + table.num_rows
                yield _piece(table.rename_columns(list(columns)), first, broken, stream.share)
                first = done
        except pa.ArrowException as error:
            if "cannot infer number of columns" in str(error):  # a header without a line end
                return
            raise self._fault(error) from None
        stream.check_quotes(self._delimiter)
        late = tuple(Fault(number, None, why) for i, (number, why) in enumerate(broken) if number - i >= done)
        if late:
            yield Piece(
                batches.schema.empty_table().rename_columns(list(columns)), np.empty(0, dtype=np.int64), late, 1.0
            )

    def _opened(self, stream: "_Bytes", columns: Sequence[str], broken: list[tuple[int, str]]) -> Any:
        """Return the batches of the columns; records of another length are put into `broken`."""
        import pyarrow as pa
        from pyarrow import csv as parser

        def note(record: Any) -> str:
            given = f"has {record.actual_columns} cells, and the header {record.expected_columns}"
            broken.append((record.number - 2, given))  # counted from 1, and the header is the first
            return "skip"

        return parser.open_csv(
            stream,
            # One thread: only then is a record's number known. Two would not be quicker.
            parser.ReadOptions(use_threads=False, block_size=_BLOCK),
            parser.ParseOptions(delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=note),
            parser.ConvertOptions(
                column_types=dict.fromkeys(self._raw, pa.string()),
                strings_can_be_null=False,
                include_columns=[self._named[name] for name in columns],
            ),
        )

    def _fault(self, error: Exception) -> PredictError:
        """Return what is wrong with a file that the parser refused."""
        if "invalid UTF8" in str(error) and (line := _not_utf8(self.shown, self._path)):
            return PredictError(f"{self.shown}, line {line}: is not UTF-8")
        return PredictError(f"{self.shown}: cannot be read as CSV: {' '.join(str(error).split())[:200]}")


def _piece(table: "pa.Table", first: int, broken: Sequence[tuple[int, str]], share: float) -> Piece:
    """Return rows as a piece, the first of which is the row `first` of those that are not broken."""
    end = first + table.num_rows
    # A broken record stands before the row that has as many good ones before it.
    before = np.array([number - i for i, (number, _) in enumerate(broken)], dtype=np.int64)
    places = np.arange(first, end)
    low, high = np.searchsorted(before, [first, end])
    among = tuple(Fault(number, None, why) for number, why in broken[low:high])
    return Piece(table, places + np.searchsorted(before, places, side="right"), among, share)


def _header(shown: str, path: Path) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the columns; blank lines before them are skipped."""
    text = ""
    for chunk in archives.chunks(shown, path):
        text += chunk.removeprefix(_BOM).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        text = text.lstrip("\n")
        if "\n" in text:
            break
    line = text.partition("\n")[0]
    if not line.strip():
        raise PredictError(f"{shown}: is empty")
    if "\0" in line:
        raise PredictError(f"{shown}: holds a NUL character; damaged, or UTF-16, and it must be UTF-8")
    delimiter = max(DELIMITERS, key=re.sub(r'"[^"]*"', "", line).count)  # the first of equals
    return delimiter, next(csv.reader([line], delimiter=delimiter))


def _check_names(shown: str, names: Sequence[str]) -> None:
    """Refuse names that repeat or are empty; the first may be, as that of a data frame's index."""
    for place, name in enumerate(names):
        if not name.strip() and place:
            raise PredictError(f"{shown}: the header gives column {place + 1} no name")
        if names.count(name) > 1:
            raise PredictError(f"{shown}: the header repeats the name {name!r}")


def _not_utf8(shown: str, path: Path) -> int | None:
    """Return the number of the first line that is not UTF-8."""
    line, rest = 1, b""
    for chunk in archives.chunks(shown, path):
        whole, _, rest = (rest + chunk).rpartition(b"\n")
        for each in whole.split(b"\n") if whole else ():
            try:
                each.decode()
            except UnicodeDecodeError:
                return line
            line += 1
    return line if rest else None


def _ends_quoted(chunks: Iterator[bytes], delimiter: str) -> bool:
    """Whether a CSV text ends within a quoted cell."""
    last: list[str] = []
    try:
        for record in csv.reader(_lines(chunks), delimiter=delimiter):
            last = record
    except csv.Error:  # a cell of more than 131,072 characters
        return True
    return last != [_END]  # or the line after the last is a part of its cell


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the lines of a text, and one more."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).splitlines(keepends=True)
        yield from (line.decode("latin-1") for line in lines)
    if rest:
        yield f"{rest.decode('latin-1')}\n"
    yield _END


class _Bytes(io.RawIOBase):
    """The unpacked bytes of a file, which notes how far it is read and how many quotes it has."""

    def __init__(self, shown: str, path: Path) -> None:
        self._shown, self._path = shown, path
        self._chunks = archives.chunks(shown, path)
        self._left = b""
        self._quotes = self._read = 0
        self._size = None if archives.packing(path) else path.stat().st_size

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, at most `size`; none at the end."""
        if not self._left:
            self._left = next(self._chunks, b"")
            self._quotes += self._left.count(b'"')
        some, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        self._read += len(some)
        return some

    @property
    def share(self) -> float:
        """How much of the file is read; nothing is known of a packed one."""
        return self._read / self._size if self._size else 0.0

    def check_quotes(self, delimiter: str) -> None:
        """Refuse a file in which a quote is never closed: all after it would be one cell."""
        # An odd one may stand within a cell, where it opens nothing: only then is the file read once more.
        if self._quotes % 2 and _ends_quoted(archives.chunks(self._shown, self._path), delimiter):
            raise PredictError(f"{self._shown}: a quote is never closed")
