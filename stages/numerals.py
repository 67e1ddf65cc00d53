"""Parse plain CSV files that hold nothing but numbers, by Arrow: in two thirds of the time that DuckDB takes.

What Arrow refuses is left to DuckDB, which knows the rules: a fraction among whole numbers, a text, other fields.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.arrays import missing, to_arrow, to_numpy
from stages.csvs import Cells
from stages.numbering import HASH
from stages.readers import RefusedError
from stages.records import LONGEST
from stages.tables import ARROW, Type
from stages.threads import threads

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 2**22  # bytes of parsed rows, and of lines at most
_THREADS = 4  # at most: one writes what two parse
_WAITING = 4  # parsed batches beside those that are being parsed
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing: 2**64 over the golden ratio, odd
_SHIFT = np.uint64(32)
_GAP = np.uint64(0x7FF8_7472_6961_6C21)  # the bits of no other float, and of one integer in all


def batches(cells: Cells, types: Mapping[str, Type], tokens: Sequence[str]) -> "Iterator[pa.RecordBatch]":
    """Yield the rows of plain files in order, with integers and numbers as named, and last a hash of each row.

    `tokens` are texts for no value.

    Raises:
        RefusedError: not all cells are numbers as Arrow reads them.
    """
    parse = _Parser(cells, types, tokens)
    count = threads(_THREADS)
    coming: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for path, start, end in _stretches(cells):
                coming.append(pool.submit(parse, path, start, end))
                if len(coming) >= _WAITING + count:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


def _stretches(cells: Cells) -> Iterator[tuple[Path, int, int]]:
    """Yield where the rows stand: file after file, from the beginning of a line to the end of another."""
    for text in cells.texts:
        with text.path.open("rb") as file:
            if cells.form.has_header:
                while not file.readline().strip(b"\n"):
                    pass
            start = file.tell()
            # A cell takes 8 bytes once parsed, and may take one in the file.
            parsed = 8 * text.lines * (len(cells.names) + 1)
            size = max(1, min(_AT_ONCE, _AT_ONCE * text.size // parsed))
            while start < text.size:
                file.seek(min(start + size, text.size) - 1)
                # Up to the end of the line that holds the last byte.
                if len(line := file.readline(LONGEST)) == LONGEST and line[-1:] != b"\n":
                    raise RefusedError("a record is too long")
                yield text.path, start, (start := file.tell())


class _Parser:
    """Arrow's parser, with every option given."""

    def __init__(self, cells: Cells, types: Mapping[str, Type], tokens: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import csv

        stored = {name: pa.type_for_alias(ARROW[type_]) for name, type_ in types.items()}
        self._schema = pa.schema([*stored.items(), (HASH, pa.int64())])
        # What is left out has a name that no column has.
        self._all = [name or f"\n{place}" for place, name in enumerate(cells.names)]
        self._parsing = csv.ParseOptions(delimiter=cells.delimiter, quote_char=False)
        self._converting = csv.ConvertOptions(
            column_types=stored, include_columns=list(types), null_values=["", *tokens]
        )

    def __call__(self, path: Path, start: int, end: int) -> "pa.RecordBatch":
        """Return the rows of whole lines of a file."""
        import pyarrow as pa
        from pyarrow import csv

        with path.open("rb", buffering=0) as file:
            file.seek(start)
            lines = file.read(end - start)
        if not lines.strip(b"\n"):
            return pa.RecordBatch.from_pylist([], self._schema)
        reading = csv.ReadOptions(use_threads=False, block_size=len(lines), column_names=self._all)
        try:
            table = csv.read_csv(pa.BufferReader(lines), reading, self._parsing, self._converting)
        except pa.ArrowInvalid as error:
            raise RefusedError(str(error)) from None
        with np.errstate(invalid="ignore"):
            columns = [_without_nan(column.combine_chunks()) for column in table.columns]
        return pa.RecordBatch.from_arrays([*columns, _hashes(columns)], schema=self._schema)


def _without_nan(column: "pa.Array") -> "pa.Array":
    """Return a column with gaps in place of NaN."""
    if str(column.type) != "double" or not np.isnan(to_numpy(column, "float64").sum()):
        return column
    import pyarrow.compute as pc  # which takes 0.1 s to import

    return pc.if_else(pc.is_nan(column), None, column)


def _hashes(columns: "Sequence[pa.Array]") -> "pa.Array":
    """Return a hash of 64 bits (n,) of each row; equal rows have equal ones."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    shifted = np.empty_like(hashes)
    for column in columns:
        hashes ^= _bits(column)
        hashes *= _FACTOR
        hashes ^= np.right_shift(hashes, _SHIFT, out=shifted)
    return to_arrow(hashes.view(np.int64))


def _bits(column: "pa.Array") -> NDArray[np.uint64]:
    """Return the bits (n,) of numbers; those of 0 for -0, and one pattern for a gap."""
    values = to_numpy(column, "float64" if str(column.type) == "double" else "int64")
    bits: NDArray[np.uint64] = (values + 0).view(np.uint64)
    if column.null_count:
        bits[missing(column)] = _GAP
    return bits
