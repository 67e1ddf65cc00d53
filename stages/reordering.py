"""The rows of a Parquet file in another order, whatever its length.

The file is read once.  A large one's rows go into buckets of neighbours by the
new order, on disk, and each bucket is sorted on its own: both ways disks and
memory are used from one end to the other.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.arrays import to_arrow, to_numpy
from stages.progress import step
from stages.tables import ROW

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES = 2**24  # of a bucket in memory
_HELD = 2**27  # bytes of a table whose buckets need no disk
_BUCKETS = 250  # at most: each is an open file

T = TypeVar("T")


def reordered(path: Path, order: NDArray[Any], folder: Path) -> "Iterator[pa.Table]":
    """Yield rows of a table in another order, some at a time.

    `order` (n,) are the numbers of the rows, each at most once; the table's own order is that of its column `row`,
    from 0. Files meanwhile stand in `folder`.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file, ExitStack() as stack:
        row = _bytes_a_row(file)
        size = max(_BYTES // row, -(-len(order) // _BUCKETS))  # rows of a bucket
        store = stack.enter_context(_Store(folder if len(order) * row > _HELD else None))
        places = np.full(file.metadata.num_rows, -1, order.dtype)
        places[order] = np.arange(len(order), dtype=order.dtype)
        with step("dealing out rows", len(places)) as report:
            done = 0
            # While rows are stored, the next are sorted, and those after them read.
            batches = _ahead(file.iter_batches(max(_BYTES // row, 1)))
            for batch, starts in _ahead(_dealt(batches, places, size)):
                store.put(batch, starts)
                done += len(batch)
                report(done)
        store.close()
        del places

        def bucket(start: int) -> "pa.Table":
            rows = order[start : start + size]
            table = store.sorted(start // size, start, len(rows))
            return table.add_column(file.schema_arrow.get_field_index(ROW), ROW, to_arrow(rows.astype(np.int64)))

        # While one bucket is written, the next is sorted.
        with step("writing rows", len(order)) as report:
            done = 0
            for table in _ahead(map(bucket, range(0, len(order), size))):
                yield table
                done += len(table)
                report(done)


def _dealt(
    batches: "Iterator[pa.RecordBatch]", places: NDArray[Any], size: int
) -> "Iterator[tuple[pa.RecordBatch, dict[int, int]]]":
    """Yield the rows of batches by their buckets, and each bucket's first row in them.

    The last column is a row's place in place of its number. Bucket -1 is of rows to leave out.
    """
    start = 0
    for batch in batches:
        end = start + len(batch)
        if not np.array_equal(to_numpy(batch.column(ROW)), np.arange(start, end)):
            raise RuntimeError(f"the column {ROW} of the table is not the number of the row")
        to = places[start:end]
        bucket = np.where(to < 0, -1, to // size).astype(np.int16)
        order = np.argsort(bucket, kind="stable")
        kinds, starts = np.unique(bucket[order], return_index=True)
        placed = batch.remove_column(batch.schema.get_field_index(ROW)).append_column("", to_arrow(to))
        yield placed.take(to_arrow(order)), dict(zip(kinds.tolist(), starts.tolist(), strict=True))
        start = end


def _ahead(values: Iterator[T]) -> Iterator[T]:
    """Yield values, the next of which is made while one is dealt with."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value


def _bytes_a_row(file: Any) -> int:
    """Return how many bytes a row takes in memory, by the first."""
    first = next(file.iter_batches(2048), None)
    return 1 if first is None else max(1, first.nbytes // len(first))


class _Store:
    """Buckets of rows, in memory or in a file each."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[int, Any] = {}
        self._kept: dict[int, list[Any]] = {}

    def put(self, batch: "pa.RecordBatch", starts: dict[int, int]) -> None:
        """Put rows, sorted by bucket, into their buckets; `starts` is the first of each bucket."""
        import pyarrow as pa

        for (kind, start), end in zip(starts.items(), [*starts.values(), len(batch)][1:], strict=True):
            if kind < 0:
                continue
            some = batch.slice(start, end - start)
            if self._folder is None:
                self._kept.setdefault(kind, []).append(some)
                continue
            if kind not in self._files:
                self._files[kind] = pa.ipc.new_stream(str(self._path(kind)), some.schema)
            self._files[kind].write_batch(some)

    def sorted(self, bucket: int, first: int, rows: int) -> "pa.Table":
        """Return a bucket's rows, without their places, by these, and forget them.

        `first`: the first place of a bucket of so many rows.
        """
        import pyarrow as pa

        if self._folder is None:
            table = pa.Table.from_batches(self._kept.pop(bucket))
        else:
            with pa.memory_map(str(self._path(bucket))) as file, pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            self._path(bucket).unlink()
        last = table.num_columns - 1
        places = np.concatenate([to_numpy(chunk, str(chunk.type)) for chunk in table.column(last).chunks])
        order = np.empty(rows, np.int64)
        order[places - first] = np.arange(rows)
        return table.remove_column(last).combine_chunks().take(to_arrow(order))

    def close(self) -> None:
        """End the files, to be read."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _path(self, bucket: int) -> Path:
        return (self._folder or Path()) / f"bucket-{bucket}.arrow"

    def __enter__(self) -> "_Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
