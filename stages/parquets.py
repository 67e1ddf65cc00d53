"""Write a Parquet file batch by batch, each column in the encoding that its values ask for.

pyarrow writes, because it takes batches as they come, in their order, from
however many threads DuckDB parses with; a number that hardly repeats is split
by bytes, which makes smaller files than a dictionary in half the time.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stages.tables import ARROW, METADATA, Column, Type

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 122_880  # rows of a row group, at most
_GROUP_BYTES = 2**26  # of a row group in memory
_FIRST = 2048  # rows by which the bytes of a row are told
_LOOKED_AT = 32_768  # rows of the first group by which a column's encoding is chosen
_WIDE: tuple[Type, ...] = ("number", "integer", "date")  # of 64 bits a value
_REPEATS = 8  # rows for each different value from which a dictionary pays


class Writer:
    """One Parquet file of a table; the same rows give the same bytes, whatever the batches."""

    def __init__(
        self, path: Path, columns: Sequence[Column], see: "Callable[[pa.Table], None]" = lambda _: None
    ) -> None:
        """Begin the file; it is whole once the block that this is the context of has ended.

        `see` is shown each row group, whose columns are of one chunk.
        """
        import pyarrow as pa

        self._path = path
        self._see = see
        self._types: dict[str, Type] = {column.name: column.type for column in columns}
        self._notes: dict[str, Any] = {METADATA: self._types}
        self._schema = pa.schema([(c.name, pa.type_for_alias(ARROW[c.type])) for c in columns])
        self._waiting: list[Any] = []
        self._file: Any = None
        self._group = 0  # rows, once known

    def write(self, batch: "pa.RecordBatch") -> None:
        """Add rows."""
        self._waiting.append(batch if batch.schema == self._schema else batch.cast(self._schema))
        waiting = sum(map(len, self._waiting))
        if not self._group and waiting >= _FIRST:
            self._group = rows_of(self._table().slice(0, _FIRST))
        if self._group and waiting >= self._group:
            table = self._table()
            whole = waiting - waiting % self._group
            for start in range(0, whole, self._group):
                self._write_group(table.slice(start, self._group))
            self._waiting = table.slice(whole).to_batches()

    def flush(self) -> None:
        """Write the rows that wait, as the last row group."""
        if self._waiting or self._file is None:
            self._write_group(self._table())
            self._waiting.clear()

    def note(self, key: str, value: Any) -> None:
        """Add an entry to the file's metadata, as JSON, in the place of one of that key."""
        self._notes[key] = value

    def _table(self) -> Any:
        import pyarrow as pa

        return pa.Table.from_batches(self._waiting, self._schema)

    def _write_group(self, table: Any) -> None:
        # Pages end where chunks do, and chunks come as threads have it.
        table = table.combine_chunks()
        self._see(table)
        if self._file is None:
            import pyarrow.parquet as pq

            low = _repetitive(table, self._types)
            encodings = {
                c: "BYTE_STREAM_SPLIT" if self._types[c] == "number" else "DELTA_BINARY_PACKED"
                for c in self._schema.names
                if c not in low and self._types[c] in _WIDE
            }
            self._file = pq.ParquetWriter(
                self._path, self._schema, compression="zstd", use_dictionary=low, column_encoding=encodings
            )
        self._file.write_table(table, row_group_size=max(table.num_rows, 1))

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the file; after an error it is of no use."""
        if kind is None:
            self.flush()
        if self._file is not None:
            notes = {key: json.dumps(value, ensure_ascii=False) for key, value in self._notes.items()}
            self._file.add_key_value_metadata(notes)
            self._file.close()


def rows_of(sample: "pa.Table") -> int:
    """Return how many rows like those of a sample make a row group."""
    texts = [c for c in sample.columns if str(c.type) == "string"]
    size = 8 * sample.num_rows * sample.num_columns
    if texts:
        import pyarrow.compute as pc

        size += sum(pc.sum(pc.binary_length(c)).as_py() or 0 for c in texts)
    return int(min(GROUP, max(1024, _GROUP_BYTES * sample.num_rows // max(1, size))))


def _repetitive(table: Any, types: Mapping[str, Type]) -> list[str]:
    """Return the columns whose values repeat so much that a dictionary pays."""
    first = table.slice(0, _LOOKED_AT)
    return [n for n, type_ in types.items() if _distinct(first[n], type_) * _REPEATS <= first.num_rows]


def _distinct(column: Any, type_: Type) -> int:
    """Return how many different values a column of one chunk has."""
    if type_ in _WIDE and not column.null_count and len(column):
        import numpy as np

        from stages.arrays import to_numpy

        return len(np.unique(to_numpy(column.chunk(0))))
    import pyarrow.compute as pc  # which takes 0.1 s to import

    return int(pc.count_distinct(column).as_py())
