"""Small Parquet files, decoded once in a process that reads the same again and again, as the trials of a sweep do."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES = 1_000_000
_ROWS = 65_536  # that pyarrow gives in one batch
_CELLS = 2**18


def table(path: Path) -> "pa.Table | None":
    """Return the table of a small file by its content, with a single chunk a column; None of any other.

    Raises:
        ArrowException, OSError: the file is damaged or cannot be read.
    """
    return _decoded(path.read_bytes()) if path.stat().st_size <= _BYTES else None


@lru_cache(8)
def _decoded(content: bytes) -> "pa.Table | None":
    """Return the table of a file's content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(content)) as file:
        rows, columns = file.metadata.num_rows, file.metadata.num_columns
        small = 0 < rows <= _ROWS and rows * columns <= _CELLS and file.num_row_groups == 1
        return file.read() if small else None
