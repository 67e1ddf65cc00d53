"""The rows of a query on their way into the raw table: numbered, watched, written, in one pass."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from stages.databases import batches, quoted
from stages.guessing import Kinds
from stages.parquets import Writer
from stages.progress import step
from stages.tables import DISTINCT, MANY, MEANS, METADATA, REPEATED, ROW, Column
from stages.threads import threads

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

HASH = "\nhash"  # name of a column beside the table's, none of which begins so
_WORTH = 2**17  # values for whose order a thread pays


def hashed(database: "duckdb.DuckDBPyConnection", query: str, columns: Sequence[Column]) -> "Iterator[pa.RecordBatch]":
    """Yield a query's rows in order, after its columns a hash of all of them.

    Raises:
        duckdb.Error: the query cannot be run to its end.
    """
    names = ", ".join(quoted(column.name) for column in columns)
    return batches(database, f"SELECT {names}, hash({names}) AS {quoted(HASH)} FROM ({query})")


def write(batches: "Iterator[pa.RecordBatch]", kinds: Kinds, path: Path, rows: int) -> list[Column]:
    """Write rows, each with its number, and return the columns, texts told from categories.

    `batches`: their columns are those of `kinds` and HASH, of 64 bits. `rows`: how many there are, or a few more. The
    file's metadata hold the types and figures of the columns, and how many rows repeat an earlier one in all columns,
    told by their hash.
    """
    import numpy as np
    import pyarrow as pa

    from stages.arrays import to_numpy
    from stages.figures import Figures

    columns = [Column(ROW, "integer", "row"), *kinds.columns()]
    names = [c.name for c in columns]
    hashes, figures = np.empty(rows, np.uint64), Figures(kinds.columns(), distinct=rows > MANY)
    number = 0
    with step("reading rows", rows) as report, Writer(path, columns, figures.see) as writer:
        for batch in batches:
            *cells, found = batch.columns
            kinds.see(batch)
            end = number + batch.num_rows
            hashes[number:end] = to_numpy(found, "uint64")
            writer.write(pa.RecordBatch.from_arrays([pa.arange(number, end), *cells], names))
            number = end
            report(number)
        writer.flush()
        settled = [columns[0], *kinds.columns()]
        writer.note(METADATA, {c.name: c.type for c in settled})
        writer.note(REPEATED, _repeated(hashes[:number]))
        writer.note(MEANS, figures.means())
        writer.note(DISTINCT, kinds.distinct() | (figures.distinct() if number > MANY else {}))
    return settled[1:]


def _repeated(hashes: "NDArray[np.uint64]") -> int:
    """Return how many values (n,) repeat another; they are put in order, each processor those of a range."""
    count = threads(len(hashes) // _WORTH)
    borders = [len(hashes) * i // count for i in range(count + 1)]
    if count > 1:
        hashes.partition(borders[1:-1])
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda start, end: hashes[start:end].sort(), borders[:-1], borders[1:]))
    return int((hashes[1:] == hashes[:-1]).sum())
