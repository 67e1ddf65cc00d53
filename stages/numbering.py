"""The rows of a query on their way into the raw table: numbered, watched, written, in one pass."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.databases import batches, quoted
from stages.guessing import Kinds
from stages.parquets import Writer
from stages.progress import step
from stages.tables import METADATA, REPEATED, ROW, Column

if TYPE_CHECKING:
    import duckdb

_HASH = "hash"  # name of a column beside the table's


def write(database: "duckdb.DuckDBPyConnection", query: str, kinds: Kinds, path: Path, rows: int) -> list[Column]:
    """Write a query's rows, each with its number, and return the columns, texts told from categories.

    `rows`: how many there are, or a few more. The file's metadata hold the types, and how many rows repeat an earlier
    one in all columns, told by a hash of 64 bits.

    Raises:
        duckdb.Error: the query cannot be run to its end.
    """
    import numpy as np
    import pyarrow as pa

    from stages.arrays import to_numpy

    columns = [Column(ROW, "integer", "row"), *kinds.columns()]
    names = [c.name for c in columns]
    hashed = f"SELECT *, hash({', '.join(map(quoted, names[1:]))}) AS {_HASH} FROM ({query})"
    hashes = np.empty(rows, np.uint64)
    number = 0
    with step("reading rows", rows) as report, Writer(path, columns) as writer:
        for batch in batches(database, hashed):
            *cells, found = batch.columns
            kinds.see(batch)
            end = number + batch.num_rows
            hashes[number:end] = to_numpy(found, "uint64")
            writer.write(pa.RecordBatch.from_arrays([pa.arange(number, end), *cells], names))
            number = end
            report(number)
        hashes = hashes[:number]
        hashes.sort()
        repeated = int((hashes[1:] == hashes[:-1]).sum())
        settled = [columns[0], *kinds.columns()]
        writer.note(METADATA, {c.name: c.type for c in settled})
        writer.note(REPEATED, repeated)
    return settled[1:]
